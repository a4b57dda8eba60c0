"""Choose the decoder of a video: NVDEC if its first frames match software, else software."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vtnstream.config import RuntimeConfig, SamplingConfig
from vtnstream.encoding.engines.protocols import Encoder
from vtnstream.encoding.stored import reason_for_software
from vtnstream.errors import VideoDecodeError
from vtnstream.video.decoding.hardware import NVDEC, Hardware, HardwareRefusedError
from vtnstream.video.decoding.reader import DECODER, RESIZER

_MOST_DIFFERENCE = 2.0
"""Largest allowed mean difference of a frame, of 255. The decoded planes are bit-identical; colour
conversion and scaling agree to 0.05. A wrong colour matrix or range differs by 3 or more."""

FirstFrames = Callable[[Hardware | None], Any]
"""Returns the first frames of a video (n, h, w, 3) uint8, decoded in hardware or in software."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """The decoder of a video and one clause that gives the reason.

    ``refused`` is True if NVDEC was wanted and cannot be used.
    """

    reason: str
    hardware: Hardware | None = None
    refused: bool = False

    @property
    def name(self) -> str:
        """Name of the decoder in feature keys and reports."""
        return DECODER if self.hardware is None else NVDEC

    @property
    def resizer(self) -> str:
        """Name of the resizer in feature keys and reports."""
        if self.hardware is None:
            return RESIZER
        from vtnstream.preprocess import surfaces

        return surfaces.RESIZER


def choose_decoding(
    runtime: RuntimeConfig,
    encoder: Encoder,
    sampling: SamplingConfig,
    first_frames: FirstFrames,
) -> Decoding:
    """Choose the decoder for the frames of an encoder.

    Raises:
        UsageError: NVDEC was requested, and the backbone is not on a GPU.
        VideoError: the video cannot be decoded at all.
    """
    index = encoder.device_index
    if runtime.decoder == DECODER or index is None:
        return Decoding(reason_for_software(runtime))
    if not encoder.shape.is_single or sampling.kind == "keyframes":
        return Decoding("only single frames of a rate or range are decoded on the GPU")
    from vtnstream.preprocess.surfaces import SurfaceConverter  # imports torch

    hardware = Hardware(index, SurfaceConverter(encoder.preprocess.interpolation))
    reason = refusal(hardware, first_frames)
    if reason is not None:
        return Decoding(reason, refused=True)
    return Decoding("its first pictures equal those of software", hardware)


def refusal(hardware: Hardware, first_frames: FirstFrames) -> str | None:
    """Return why NVDEC cannot decode a video; None if its first frames match software.

    Raises:
        VideoError: software cannot decode the frames either.
    """
    try:
        there = first_frames(hardware)
    except HardwareRefusedError as error:
        return f"{NVDEC} does not read this video: {error}"
    except VideoDecodeError:
        first_frames(None)  # raises the same error if the file is unreadable
        return f"{NVDEC} decodes no frame of this video"
    expected = first_frames(None)
    there = np.asarray(there.cpu())
    if there.shape != expected.shape:
        return f"{NVDEC} gives other pictures ({there.shape} for {expected.shape})"
    difference = np.abs(there.astype(np.float32) - expected).mean(axis=(1, 2, 3)).max()
    if difference > _MOST_DIFFERENCE:
        return f"{NVDEC} gives other pictures (off by {difference:.1f} of 255)"
    return None
