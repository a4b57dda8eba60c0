"""Decoding on an NVIDIA GPU (NVDEC): pictures that never leave it.

libav goes back to software without a word where a codec or profile is refused; so it is told
not to, and whatever goes wrong here, damage in the file included, raises
:class:`HardwareRefusedError`: whoever asked then reads the file anew in software, whose answers
and reports are the measure.
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
from vtnstream.video.decoding.tally import Tally
from vtnstream.video.resize import Placing

NVDEC = "nvdec"
"""Part of the feature key, beside ``software``: the kind of decoder."""

DECODERS = 8
"""Stretches of a file that are decoded at once: a large GPU has several decoders (an H200 seven),
and each works one stream at a time."""

_LEVELS = {"nv12": 1, "p010le": 256, "p016le": 256}
"""Layouts of surfaces that are read (8 bits, and more than 8 from above in 16), and the levels
of a sample for one of 8 bits."""


_DAMAGED = "packets or pictures that cannot be decoded there"


class Converter(Protocol):
    """Makes pictures of surfaces, where they are."""

    def at(self, device: int) -> AbstractContextManager[None]:
        """Within, the context that pictures are made in is the calling thread's current one.

        Raises (when entered):
            RuntimeError, AssertionError: there is no such GPU.
        """
        ...

    def picture(
        self, planes: Sequence[Any], colour: Colour, fit: Fit, rotation: int, mirrored: bool
    ) -> Any:
        """The model's picture (h, w, 3) of luma and chroma that give themselves by
        ``__dlpack__``; turned as :class:`~vtnstream.video.orientation.Orientation` says."""
        ...

    def stack(self, pictures: Sequence[Any]) -> Any:
        """Pictures to (T, h, w, 3), ready for any stream of work."""
        ...


@dataclass(frozen=True, slots=True)
class Hardware:
    """A GPU that decodes.

    Attributes:
        device: its number.
        converter: what its surfaces are given to.
    """

    device: int
    converter: Converter

    def accelerator(self) -> HWAccel | None:
        """As PyAV wants it when a file is opened, within :meth:`current`."""
        return HWAccel(
            "cuda",
            device=self.device,
            allow_software_fallback=False,
            # PyAV's own choice, the primary context by that name, is refused by libav where torch
            # was there first: it wants to set flags of it.
            options={"primary_ctx": "0", "current_ctx": "1"},
            is_hw_owned=True,
        )

    @contextmanager
    def current(self) -> Iterator[None]:
        """What is opened within, in this thread, shares the converter's context.

        Raises:
            HardwareRefusedError: there is no such GPU.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(self.converter.at(self.device))
            except (RuntimeError, AssertionError) as error:  # the latter is a torch without CUDA
                why = str(error).strip().partition("\n")[0]
                raise HardwareRefusedError(f"the GPU cannot be used ({why})") from error
            yield

    def surface(self, frame: Any) -> tuple[Sequence[Any], str]:
        """Planes of a decoded frame, and the name of their layout.

        Raises:
            HardwareRefusedError: it is not on the GPU.
        """
        if frame.sw_format is None:
            raise HardwareRefusedError("a picture was decoded in software")
        return frame.planes, frame.sw_format.name


class SurfaceResizer:
    """As :class:`~vtnstream.video.resize.FrameResizer`, on a GPU."""

    def __init__(self, path: str, fit: FrameFit, hardware: Hardware, *, max_pixels: int) -> None:
        self._placing = Placing(path, fit, max_pixels)
        self._hardware = hardware

    def __call__(self, frame: Any, aspect: Fraction | None) -> Any:
        """One picture (crop_height, crop_width, 3).

        Raises:
            HardwareRefusedError: it is not one that is read here, or the GPU cannot.
            VideoDecodeError: its shape is too extreme to scale.
        """
        fit, orientation = self._placing(frame, aspect)
        planes, layout = self._hardware.surface(frame)
        if layout not in _LEVELS:
            raise HardwareRefusedError(f"pictures in the format {layout}")
        if frame.width % 2 or frame.height % 2:  # PyAV gives half the size rounded down
            raise HardwareRefusedError(f"pictures of odd size ({frame.width} x {frame.height})")
        colour = Colour(int(frame.colorspace), int(frame.color_range), _LEVELS[layout])
        turn = orientation.rotation, orientation.mirrored
        try:
            return self._hardware.converter.frame(planes, colour, fit, *turn)
        except (RuntimeError, TypeError, ValueError) as error:  # PyAV's and torch's: no memory, say
            why = str(error).strip().partition("\n")[0]
            raise HardwareRefusedError(f"a picture cannot be read ({why})") from error


def refusing(cancelled: Callable[[], bool], tally: Tally) -> Callable[[], bool]:
    """``cancelled``, asked before each packet; a film of which a packet cannot be decoded is not
    read to its end for nothing.

    Raises (when asked):
        HardwareRefusedError: there was one.
    """

    def asked() -> bool:
        met = tally.lifetime
        if met.num_packet_errors and not met.num_frames:
            raise HardwareRefusedError(
                "it does not take this profile, or the driver comes without video (in a container "
                "NVIDIA_DRIVER_CAPABILITIES=all brings it)"
            )
        if met.num_packet_errors:
            raise HardwareRefusedError(_DAMAGED)
        return cancelled()

    return asked


def undamaged(chunks: Iterator[FrameChunk]) -> Iterator[FrameChunk]:
    """``chunks``, as long as nothing was damaged.

    Raises:
        HardwareRefusedError: something was.
    """
    for chunk in chunks:
        met = chunk.stats
        if met.num_packet_errors or met.num_corrupt or met.num_dropped:
            raise HardwareRefusedError(_DAMAGED)
        yield chunk


__all__ = [
    "DECODERS",
    "NVDEC",
    "Hardware",
    "HardwareRefusedError",
    "Converter",
    "SurfaceResizer",
    "refusing",
    "undamaged",
]
