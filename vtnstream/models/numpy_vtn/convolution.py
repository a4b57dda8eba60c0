"""Convolutions as matrix products over tiles of a row, with buffers that are used again.

The columns of one matrix row are the pixels that ``tile`` neighbouring output pixels depend on, so
that fewer pixels are copied than with one output pixel a row, and the product is wide enough to be
fast. A last column of ones adds the bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vtnstream.types import FloatArray

KERNEL = 3
_WIDEST = 32
"""Outputs of a tile. Wider products compute more zeros: measured on convolutions of 6 to 48
channels."""


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """Weights of a 3x3 convolution whose input is padded by one pixel.

    Attributes:
        weight: (3, 3, C, K).
        bias: (K,).
        stride: 1 or 2.
    """

    weight: FloatArray
    bias: FloatArray
    stride: int


class Convolution:
    """One convolution of frames of one size.

    Args:
        kernel: its weights.
        height, width: of the output.
    """

    def __init__(self, kernel: Kernel, height: int, width: int) -> None:
        _, _, channels, outputs = kernel.weight.shape
        self.channels, self.outputs, self.stride = channels, outputs, kernel.stride
        self.height, self.width = height, width
        fits = (t for t in range(1, width + 1) if width % t == 0 and t * outputs <= _WIDEST)
        self.tile = max(fits, default=1)
        self.span = (self.tile - 1) * kernel.stride + KERNEL
        matrix = np.zeros((KERNEL, self.span, channels, self.tile, outputs), np.float32)
        for place in range(self.tile):
            first = place * kernel.stride
            matrix[:, first : first + KERNEL, :, place] = kernel.weight
        whole = matrix.reshape(-1, self.tile * outputs)
        self.matrix = np.concatenate([whole, np.tile(kernel.bias, self.tile)[None]])

    @property
    def padded_shape(self) -> tuple[int, int, int]:
        """Shape of an input frame with a border of one pixel (H, W, C)."""
        height, width = self.height * self.stride + 2, self.width * self.stride + 2
        return height, width, self.channels


class Workspace:
    """Buffers of one convolution for batches of up to ``count`` frames, for one thread.

    Attributes:
        padded: (count, H + 2, W + 2, C), the input with its border, which is 0 at first.
        made: (count, height, width, K), the output of the last call.
    """

    def __init__(self, convolution: Convolution, count: int) -> None:
        self.padded = np.zeros((count, *convolution.padded_shape), np.float32)
        height, width = convolution.height, convolution.width
        tiles, outputs = width // convolution.tile, convolution.outputs
        self._matrix = convolution.matrix
        self._tiles = height * tiles
        length = len(convolution.matrix)
        self._columns = np.ones((count * self._tiles, length), np.float32)
        across = convolution.span * convolution.channels
        item = self.padded.itemsize
        self._read = np.lib.stride_tricks.as_strided(
            self.padded,
            (count, height, tiles, KERNEL, across),
            _strides(self.padded, convolution.stride, convolution.tile),
            writeable=False,
        )
        self._write = np.lib.stride_tricks.as_strided(
            self._columns,
            (count, height, tiles, KERNEL, across),
            (
                *(n * length * item for n in (self._tiles, tiles, 1)),
                across * item,
                item,
            ),
        )
        self._product = np.empty((count * self._tiles, convolution.matrix.shape[1]), np.float32)
        self.made = self._product.reshape(count, height, width, outputs)

    @property
    def interior(self) -> FloatArray:
        """The input without its border, (count, H, W, C)."""
        return self.padded[:, 1:-1, 1:-1]

    def run(self, count: int) -> FloatArray:
        """Convolve the first ``count`` frames; return (count, height, width, K), which the next
        call overwrites."""
        rows = count * self._tiles
        np.copyto(self._write[:count], self._read[:count])
        np.matmul(self._columns[:rows], self._matrix, out=self._product[:rows])
        return self.made[:count]


def _strides(padded: FloatArray, stride: int, tile: int) -> tuple[int, ...]:
    """Strides of (frame, output row, tile, kernel row, pixels of a tile's row)."""
    frame, row, column, item = padded.strides
    return frame, row * stride, column * stride * tile, row, item
