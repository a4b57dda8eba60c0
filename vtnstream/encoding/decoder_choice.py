"""What decodes a video: the GPU that runs the backbone, where it gives the pictures that
software gives, else software; and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vtnstream.config import RuntimeConfig, SamplingConfig
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.errors import UsageError, VideoDecodeError
from vtnstream.preprocess.surfaces import RESIZER as SURFACE_RESIZER
from vtnstream.preprocess.surfaces import SurfacePainter
from vtnstream.video.decoding.hardware import NVDEC, Hardware, HardwareRefusedError
from vtnstream.video.decoding.reader import DECODER, RESIZER

MOST_DIFFERENCE = 2.0
"""Of 255, the mean over a picture: the planes are the same bits on either way, and colours and
scaling agree to 0.05; a wrong matrix or range is off by 3 and more."""

FirstFrames = Callable[[Hardware | None], Any]
"""The first frames of a video (n, h, w, 3) uint8, decoded in hardware or in software."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How a video is decoded, and one clause that says why. ``refused``: the GPU was wanted."""

    reason: str
    hardware: Hardware | None = None
    refused: bool = False

    @property
    def name(self) -> str:
        """As it stands in feature keys and reports."""
        return DECODER if self.hardware is None else NVDEC

    @property
    def resizer(self) -> str:
        """Likewise."""
        return RESIZER if self.hardware is None else SURFACE_RESIZER


def choose_decoding(
    runtime: RuntimeConfig,
    encoder: FrameEncoder,
    sampling: SamplingConfig,
    first_frames: FirstFrames,
) -> Decoding:
    """What decodes a video whose frames an encoder is given.

    Raises:
        UsageError: a GPU was asked for, and the backbone is not on one.
        VideoError: the video cannot be decoded at all.
    """
    device = encoder.device
    if runtime.decoder == DECODER:
        return Decoding("asked for")
    if device.type != "cuda":
        if runtime.decoder == NVDEC:
            raise UsageError("--decoder nvdec: the backbone runs on the CPU; choose --device cuda")
        return Decoding("the backbone runs on the CPU")
    if not encoder.shape.is_single or sampling.kind == "keyframes":
        return Decoding("only single frames of a rate or range are decoded on the GPU")
    hardware = Hardware(device.index, SurfacePainter(encoder.preprocess.interpolation))
    reason = refusal(hardware, first_frames)
    if reason is not None:
        return Decoding(reason, refused=True)
    return Decoding("its first pictures equal those of software", hardware)


def refusal(hardware: Hardware, first_frames: FirstFrames) -> str | None:
    """Why a video is not decoded there; None where its first frames come out right.

    Raises:
        VideoError: software cannot decode them either.
    """
    try:
        there = first_frames(hardware)
    except HardwareRefusedError as error:
        return f"{NVDEC} does not read this video: {error}"
    except VideoDecodeError:
        first_frames(None)  # may say the same
        return f"{NVDEC} decodes nothing of this video"
    expected = first_frames(None)
    there = np.asarray(there.cpu())
    if there.shape != expected.shape:
        return f"{NVDEC} gives other pictures ({there.shape} for {expected.shape})"
    difference = np.abs(there.astype(np.float32) - expected).mean(axis=(1, 2, 3)).max()
    if difference > MOST_DIFFERENCE:
        return f"{NVDEC} gives other pictures (off by {difference:.1f} of 255)"
    return None
