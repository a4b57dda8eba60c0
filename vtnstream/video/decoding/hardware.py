"""Decode on an NVIDIA GPU (NVDEC); frames stay on the GPU.

By default libav falls back to software silently if NVDEC does not support a codec or profile. This
fallback is disabled. Any failure, including damage in the file, raises
:class:`HardwareRefusedError`, and the caller decodes the file again in software, whose results are
the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

from av.codec.hwaccel import HWAccel

from vtnstream.types import Colour, Fit, FrameChunk, FrameFit
from vtnstream.video.container import HardwareRefusedError
from vtnstream.video.decoding.counters import DecodeCounters
from vtnstream.video.resize import FrameGeometry

NVDEC = "nvdec"
"""Name of the decoder in the feature key; the other is ``software``."""

DECODERS = 8
"""Number of parts of a file that are decoded at the same time. A large GPU has several decoders (an
H200 has seven), each of which decodes one stream at a time."""

_LEVELS = {"nv12": 1, "p010le": 256, "p016le": 256}
"""Supported surface formats (8 bits, and more than 8 in the upper bits of 16) -> divisor that
turns a sample into 8 bits."""

_DAMAGED = "packets or frames that cannot be decoded there"


class Converter(Protocol):
    """Converts surfaces to RGB frames on their device."""

    def at(self, device: int) -> AbstractContextManager[None]:
        """Make the CUDA context of the conversion current in the calling thread.

        Raises (when entered):
            RuntimeError, AssertionError: there is no such GPU.
        """
        ...

    def frame(
        self, planes: Sequence[Any], colour: Colour, fit: Fit, rotation: int, mirrored: bool
    ) -> Any:
        """Convert a luma and a chroma plane, given by ``__dlpack__``, to the model's frame
        (h, w, 3); rotated as :class:`~vtnstream.video.orientation.Orientation` says."""
        ...

    def stack(self, frames: Sequence[Any]) -> Any:
        """Stack frames to (T, h, w, 3), which any CUDA stream may read."""
        ...


@dataclass(frozen=True, slots=True)
class Hardware:
    """A GPU that decodes.

    Attributes:
        device: index of the GPU.
        converter: converts its surfaces.
    """

    device: int
    converter: Converter

    def accelerator(self) -> HWAccel | None:
        """Return PyAV's argument for opening a file, within :meth:`current`."""
        return HWAccel(
            "cuda",
            device=self.device,
            allow_software_fallback=False,
            # By default PyAV asks for the primary context, which libav rejects if torch has created
            # it already, because libav cannot set its flags then.
            options={"primary_ctx": "0", "current_ctx": "1"},
            is_hw_owned=True,
        )

    @contextmanager
    def current(self) -> Iterator[None]:
        """Let decoders opened in this thread share the converter's CUDA context.

        Raises:
            HardwareRefusedError: there is no such GPU.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(self.converter.at(self.device))
            except (RuntimeError, AssertionError) as error:  # AssertionError: torch without CUDA
                why = str(error).strip().partition("\n")[0]
                raise HardwareRefusedError(f"the GPU cannot be used ({why})") from error
            yield

    def surface(self, frame: Any) -> tuple[Sequence[Any], str]:
        """Return the planes of a decoded frame, and the name of their format.

        Raises:
            HardwareRefusedError: the frame is not on the GPU.
        """
        if frame.sw_format is None:
            raise HardwareRefusedError("a frame was decoded in software")
        return frame.planes, frame.sw_format.name


class SurfaceResizer:
    """Converts frames as :class:`~vtnstream.video.resize.FrameResizer` does, on a GPU."""

    def __init__(self, path: str, fit: FrameFit, hardware: Hardware, *, max_pixels: int) -> None:
        self._geometry = FrameGeometry(path, fit, max_pixels)
        self._hardware = hardware

    def __call__(self, frame: Any, aspect: Fraction | None) -> Any:
        """Convert one frame to (crop_height, crop_width, 3).

        Raises:
            HardwareRefusedError: the format is not supported, or the conversion failed.
            VideoDecodeError: the frame is too large or too narrow to scale.
        """
        fit, orientation = self._geometry(frame, aspect)
        planes, layout = self._hardware.surface(frame)
        if layout not in _LEVELS:
            raise HardwareRefusedError(f"frames in the format {layout}")
        if frame.width % 2 or frame.height % 2:  # PyAV rounds half the size down
            raise HardwareRefusedError(f"frames of odd size ({frame.width} x {frame.height})")
        colour = Colour(int(frame.colorspace), int(frame.color_range), _LEVELS[layout])
        turn = orientation.rotation, orientation.mirrored
        try:
            return self._hardware.converter.frame(planes, colour, fit, *turn)
        except (RuntimeError, TypeError, ValueError) as error:  # such as no memory
            why = str(error).strip().partition("\n")[0]
            raise HardwareRefusedError(f"a frame cannot be read ({why})") from error


def refusing(cancelled: Callable[[], bool], counters: DecodeCounters) -> Callable[[], bool]:
    """Extend ``cancelled``, which is called before each packet: decoding stops at the first packet
    that cannot be decoded, instead of reading the rest unnecessarily.

    Raises (when called):
        HardwareRefusedError: a packet could not be decoded.
    """

    def check() -> bool:
        stats = counters.lifetime
        if stats.num_packet_errors and not stats.num_frames:
            raise HardwareRefusedError(
                "it does not support this profile, or the driver has no video decoding (in a "
                "container, set NVIDIA_DRIVER_CAPABILITIES=all)"
            )
        if stats.num_packet_errors:
            raise HardwareRefusedError(_DAMAGED)
        return cancelled()

    return check


def undamaged(chunks: Iterator[FrameChunk]) -> Iterator[FrameChunk]:
    """Yield ``chunks`` as long as none has decoding errors.

    Raises:
        HardwareRefusedError: a chunk has decoding errors.
    """
    for chunk in chunks:
        stats = chunk.stats
        if stats.num_packet_errors or stats.num_corrupt or stats.num_dropped:
            raise HardwareRefusedError(_DAMAGED)
        yield chunk


__all__ = [
    "DECODERS",
    "NVDEC",
    "Converter",
    "Hardware",
    "HardwareRefusedError",
    "SurfaceResizer",
    "refusing",
    "undamaged",
]
