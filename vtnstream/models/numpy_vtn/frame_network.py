"""The frame network in numpy: pixels of small frames to features."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from vtnstream.config import ModelConfig, PreprocessConfig
from vtnstream.models.numpy_vtn.convolution import Convolution, Kernel, Workspace
from vtnstream.models.numpy_vtn.functions import LayerNorm, Linear, Weights
from vtnstream.models.numpy_vtn.layout import Sizes
from vtnstream.types import FloatArray

_AT_ONCE = 16
"""Frames that pass the network together, so that the buffers of a layer stay in the processor's
cache."""
_NORM_EPSILON = 1e-5


class FrameNetwork:
    """Pixels (N, H, W, 3) uint8 -> features (N, D) float32. Several threads may call it at once.

    Normalisation, BatchNorm and the shortcuts that change sizes are folded into the convolutions.

    Args:
        config: a supported model.
        weights: of the model.
    """

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        sizes, preprocess = Sizes.of(config), config.preprocess
        self.num_features = sizes.features
        self._pad = 255 * np.asarray(preprocess.mean, np.float32)
        height, width = preprocess.size, preprocess.frame_width
        body = _Body(weights, preprocess)
        first, second, third = body.stem()
        height, width = height // 2, width // 2
        self._stem = tuple(Convolution(each, height, width) for each in (first, second, third))
        self._blocks: list[tuple[Convolution, Convolution, bool]] = []
        before = sizes.stem[2]
        for number, channels in enumerate(sizes.stages, 1):
            height, width = height // 2, width // 2
            into, out, projects = body.block(number, before, channels)
            self._blocks.append(
                (Convolution(into, height, width), Convolution(out, height, width), projects)
            )
            before = channels
        self._head = _head(config, weights, height, width, before)
        self._norm = None
        if config.backbone.projection:
            self._norm = LayerNorm.of(weights, "backbone.projection.1", _NORM_EPSILON)
        self._thumbnail = _Thumbnail(config) if config.backbone.thumbnail else None
        self._own = threading.local()

    def __call__(self, pixels: NDArray[np.uint8]) -> FloatArray:
        """Encode frames, in groups of a fixed size from the first one on."""
        result = np.empty((len(pixels), self.num_features), np.float32)
        if not hasattr(self._own, "buffers"):
            self._own.buffers = _Buffers(self._stem, self._blocks, self._pad)
        for first in range(0, len(pixels), _AT_ONCE):
            part = pixels[first : first + _AT_ONCE]
            self._encode(self._own.buffers, part, result[first : first + _AT_ONCE])
        return result

    def _encode(self, buffers: _Buffers, pixels: NDArray[np.uint8], result: FloatArray) -> None:
        count = len(pixels)
        frames = buffers.stem[0].interior[:count]
        np.copyto(frames, pixels)
        for place, space in enumerate(buffers.stem[:-1]):
            made = space.run(count)
            np.maximum(made, 0, out=buffers.stem[place + 1].interior[:count])
        found = _halved(buffers.stem[-1].run(count))
        np.maximum(found, 0, out=buffers.blocks[0][0].interior[:count])
        for number, (into, out) in enumerate(buffers.blocks):
            _, convolution, projects = self._blocks[number]
            made = into.run(count)
            width = convolution.outputs
            np.maximum(made[..., :width], 0, out=out.interior[:count])
            shortcut = made[..., width:] if projects else into.interior[:count]
            summed = out.run(count)
            summed += shortcut
            last = number == len(buffers.blocks) - 1
            target = summed if last else buffers.blocks[number + 1][0].interior[:count]
            np.maximum(summed, 0, out=target)
        features = self._head(summed.reshape(count, -1))
        if self._norm is not None:
            self._norm(features)
        result[:, : features.shape[1]] = features
        if self._thumbnail is not None:
            self._thumbnail(frames, result[:, features.shape[1] :])


class _Buffers:
    """The buffers of one thread."""

    def __init__(
        self,
        stem: tuple[Convolution, ...],
        blocks: list[tuple[Convolution, Convolution, bool]],
        pad: FloatArray,
    ) -> None:
        self.stem = [Workspace(each, _AT_ONCE) for each in stem]
        self.stem[0].padded[:] = pad  # a normalised 0
        self.blocks = [
            (Workspace(into, _AT_ONCE), Workspace(out, _AT_ONCE)) for into, out, _ in blocks
        ]


def _halved(found: FloatArray) -> FloatArray:
    """Return the largest of 3x3 pixels at every second pixel, with a border of nothing on the
    left and top: (N, H, W, C) to (N, H / 2, W / 2, C)."""
    rows = np.maximum(found[:, ::2], found[:, 1::2])
    np.maximum(rows[:, 1:], found[:, 1:-1:2], out=rows[:, 1:])
    made = np.maximum(rows[:, :, ::2], rows[:, :, 1::2])
    np.maximum(made[:, :, 1:], rows[:, :, 1:-1:2], out=made[:, :, 1:])
    return made


class _Body:
    """The convolutions of the ResNet with BatchNorm folded into them."""

    def __init__(self, weights: Weights, preprocess: PreprocessConfig) -> None:
        self._weights = weights
        self._preprocess = preprocess

    def stem(self) -> tuple[Kernel, Kernel, Kernel]:
        """Return the three convolutions of the stem. The first takes pixels as they are, with a
        border of the mean."""
        weight, bias = self._folded("conv1.0", "conv1.1")
        scale = 255 * np.asarray(self._preprocess.std, np.float64)[:, None]
        middle = 255 * np.asarray(self._preprocess.mean, np.float32).astype(np.float64)
        weight = weight / scale
        bias = bias - np.einsum("yxck,c->k", weight, middle)
        rest = (self._folded("conv1.3", "conv1.4"), self._folded("conv1.6", "bn1"))
        second, third = (_kernel(*each, 1) for each in rest)
        return _kernel(weight, bias, 2), second, third

    def block(self, number: int, before: int, width: int) -> tuple[Kernel, Kernel, bool]:
        """Return the two convolutions of a block, and whether the outputs of the first hold the
        shortcut as well: an average of 2x2 pixels (from stage 2 on) and a projection are a
        convolution of 3x3 pixels whose first row and column have no weight."""
        name, stride = f"layer{number}.0", 1 if number == 1 else 2
        weight, bias = self._folded(f"{name}.conv1", f"{name}.bn1")
        projects = number > 1 or before != width
        if projects:
            plain, shift = self._folded(f"{name}.downsample.1", f"{name}.downsample.2")
            across = np.zeros_like(weight)
            if stride == 1:
                across[1, 1] = plain[0, 0]
            else:
                across[1:, 1:] = plain[0, 0] / 4
            weight = np.concatenate((weight, across), axis=-1)
            bias = np.concatenate((bias, shift))
        into = _kernel(weight, bias, stride)
        return into, _kernel(*self._folded(f"{name}.conv2", f"{name}.bn2"), 1), projects

    def _folded(self, name: str, norm: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return weight (3, 3, C, K) and bias (K,) of a convolution with its BatchNorm, float64."""

        def of_norm(part: str) -> NDArray[np.float64]:
            return self._weights[f"backbone.body.{norm}.{part}"].astype(np.float64)

        gain = of_norm("weight") / np.sqrt(of_norm("running_var") + _NORM_EPSILON)
        weight = self._weights[f"backbone.body.{name}.weight"].transpose(2, 3, 1, 0)
        return weight * gain, of_norm("bias") - of_norm("running_mean") * gain


def _kernel(weight: NDArray[np.float64], bias: NDArray[np.float64], stride: int) -> Kernel:
    return Kernel(weight.astype(np.float32), bias.astype(np.float32), stride)


def _head(config: ModelConfig, weights: Weights, height: int, width: int, channels: int) -> Linear:
    """Return a linear layer from the last map (h, w, C), flattened, to its averages over the grid
    or their projection."""
    rows, columns = config.backbone.grid
    down, across = height // rows, width // columns
    matrix = np.zeros((rows, down, columns, across, channels, channels, rows, columns))
    for row, column, channel in np.ndindex(rows, columns, channels):
        matrix[row, :, column, :, channel, channel, row, column] = 1 / (down * across)
    averages = matrix.reshape(height * width * channels, -1)
    if not config.backbone.projection:
        return Linear(averages.astype(np.float32), np.zeros(averages.shape[1], np.float32))
    projection = Linear.of(weights, "backbone.projection.0")
    return Linear((averages @ projection.weight).astype(np.float32), projection.bias)


class _Thumbnail:
    """The downscaled, normalised frame at the end of a feature."""

    def __init__(self, config: ModelConfig) -> None:
        preprocess = config.preprocess
        self._rows, self._columns = config.backbone.thumbnail
        width = preprocess.frame_width
        self._down, across = preprocess.size // self._rows, width // self._columns
        std = np.asarray(preprocess.std, np.float64)
        mean = np.asarray(preprocess.mean, np.float64)
        matrix = np.zeros((self._columns, across, 3, 3, self._columns))
        for column, channel in np.ndindex(self._columns, 3):
            scale = 255 * std[channel] * self._down * across
            matrix[column, :, channel, channel, column] = 1 / scale
        bias = np.repeat(-mean / std, self._columns)
        self._average = Linear(
            matrix.reshape(width * 3, -1).astype(np.float32), bias.astype(np.float32)
        )

    def __call__(self, frames: FloatArray, result: FloatArray) -> None:
        """Write the thumbnails of pixels (N, H, W, 3) to (N, 3 * rows * columns)."""
        count, down = len(frames), self._down
        summed = frames[:, ::down].copy()  # sums of whole numbers are exact
        for row in range(1, down):
            summed += frames[:, row::down]
        made = self._average(summed.reshape(count * self._rows, -1))
        made = made.reshape(count, self._rows, 3, self._columns).transpose(0, 2, 1, 3)
        result[:] = made.reshape(count, -1)
