"""Classify a video as PySlowFast's VTN does, with its own sampling and preprocessing.

For comparisons with published numbers. The frames are those of the first 10 s, chosen by
``torch.linspace`` in float32, converted to RGB by PyAV without rotation, normalised, scaled by
``torch.nn.functional.interpolate`` (bilinear, without antialiasing) and then cropped; positions are
numbers of decoded frames (``slowfast/datasets/{decoder,utils,transform}.py`` of the fork
bomri/SlowFast, with ``EVAL_FULL_VIDEO``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vtnstream.config import PreprocessConfig, SamplingConfig
from vtnstream.errors import UsageError, VideoDecodeError
from vtnstream.models.architectures import VideoModel
from vtnstream.models.long_sequence.output import SequenceOutput
from vtnstream.models.vtn.model import VTN
from vtnstream.types import Features, FloatArray, TokenTimes, VideoInfo
from vtnstream.video.plain_frames import PlainFrame, count_plain_frames, plain_frames
from vtnstream.video.probe import probe

_TARGET_FPS = 25.0
"""``DATA.TARGET_FPS``: ``num_frames`` frames at this rate are what is read of a video."""
_BATCH = 8


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceResult:
    """Result of one pass.

    Attributes:
        features: (T, D) with their times, each frame once.
        output: logits of the model's heads.
        info: the header of the video.
        num_frames_decoded: decoded frames.
        warnings: what the reference leaves out of this video, one sentence each.
    """

    features: Features
    output: SequenceOutput
    info: VideoInfo
    num_frames_decoded: int
    warnings: tuple[str, ...]


class ReferencePreprocess(nn.Module):
    """Pixels (T, H, W, 3) uint8 of any size to inputs (T, 3, size, size) float32."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: PreprocessConfig) -> None:
        super().__init__()
        self.size, self.short_side = config.size, config.resize
        self.register_buffer("mean", torch.tensor(config.mean))
        self.register_buffer("std", torch.tensor(config.std))

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalise, scale the short side, crop the centre: the order of the reference."""
        normal = ((pixels.float() / 255.0) - self.mean) / self.std  # (T, H, W, 3)
        planes = normal.permute(3, 0, 1, 2)  # (3, T, H, W)
        height, width = _scaled_size(planes.shape[2], planes.shape[3], self.short_side)
        if (height, width) != tuple(planes.shape[2:]):
            planes = nn.functional.interpolate(
                planes, size=(height, width), mode="bilinear", align_corners=False
            )
        top = math.ceil((height - self.size) / 2)
        left = math.ceil((width - self.size) / 2)
        crop = planes[:, :, top : top + self.size, left : left + self.size]
        return crop.transpose(0, 1).contiguous()  # (T, 3, size, size)


def _scaled_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Return the (height, width) of a frame whose shorter side is ``short_side``."""
    if min(height, width) == short_side:
        return height, width
    if width < height:
        return math.floor(height / width * short_side), short_side
    return short_side, math.floor(width / height * short_side)


def _reference_numbers(count: int, rate: float, num_frames: int) -> Tensor:
    """Return the numbers of the frames that are read (num_frames,), int64; they may repeat.

    Args:
        count: frames of the video.
        rate: frames per second that its header states.
        num_frames: frames that the model reads.
    """
    last = min(count, num_frames * rate / _TARGET_FPS) - 1
    return torch.linspace(0, last, num_frames).clamp(0, count - 1).long()


def run_reference(
    path: str | Path,
    model: VideoModel,
    sampling: SamplingConfig,
    *,
    stream: int | None = None,
) -> ReferenceResult:
    """Classify a video with the sampling and preprocessing of PySlowFast, in float32.

    Args:
        path: the video.
        model: in evaluation mode.
        sampling: uniform; its number of frames is used.
        stream: index of the video stream.

    Raises:
        UsageError: the model is no VTN with uniform sampling and a centre crop.
        VideoError: the video cannot be opened, or is damaged.
    """
    model, config = _checked(model, sampling), model.config.preprocess
    info = probe(path, stream=stream)
    rate = float(info.average_rate or _TARGET_FPS)
    limit = math.ceil(sampling.num_frames * rate / _TARGET_FPS)
    count = count_plain_frames(path, limit, stream=stream)
    if not count:
        raise VideoDecodeError(f"{path}: no frame could be decoded: get another copy")
    numbers = _reference_numbers(count, rate, sampling.num_frames)
    distinct, order = torch.unique(numbers, return_inverse=True)
    prepare = ReferencePreprocess(config).to(_device(model))
    with torch.inference_mode():
        values, times = _encoded(path, model, prepare, distinct.tolist(), stream)
        features = torch.from_numpy(values).to(_device(model))
        output = model.forward_features(
            features[order][None], indices=numbers[None].to(_device(model))
        )
    return ReferenceResult(
        Features(values, times),
        SequenceOutput(_row(output.logits), _row(output.dense_logits)),
        info,
        count,
        _left_out(info, count, limit, rate),
    )


def _checked(model: VideoModel, sampling: SamplingConfig) -> VTN:
    plain = model.config.preprocess.crop == "center" and sampling.kind == "uniform"
    if not isinstance(model, VTN) or not plain:
        raise UsageError(
            f"--reference-preprocess is for VTN models that read evenly spaced frames of the "
            f"centre, as those of PySlowFast: model {model.config.name} is none"
        )
    return model


def _encoded(
    path: str | Path, model: VTN, prepare: nn.Module, numbers: list[int], stream: int | None
) -> tuple[FloatArray, TokenTimes]:
    """Return the features (N, D) of these frames, and their times."""
    rows: list[FloatArray] = []
    read: list[PlainFrame] = []
    waiting: list[PlainFrame] = []

    def encode() -> None:
        pixels = torch.from_numpy(np.stack([frame.pixels for frame in waiting]))
        rows.append(model.encode_frames(prepare(pixels.to(_device(model)))).cpu().numpy())
        waiting.clear()

    for frame in plain_frames(path, numbers, stream=stream):
        if len(waiting) == _BATCH or (waiting and waiting[0].pixels.shape != frame.pixels.shape):
            encode()
        waiting.append(frame)
        read.append(_without_pixels(frame))
    encode()
    times = TokenTimes(
        np.array([frame.number for frame in read], np.int64),
        np.array([frame.pts for frame in read], np.int64),
        np.array([float(frame.start) for frame in read]),
        np.array([float(frame.end) for frame in read]),
    )
    return np.concatenate(rows), times


def _without_pixels(frame: PlainFrame) -> PlainFrame:
    empty = np.empty((0, 0, 3), np.uint8)
    return PlainFrame(frame.number, frame.pts, frame.start, frame.end, empty)


def _left_out(info: VideoInfo, count: int, limit: int, rate: float) -> tuple[str, ...]:
    found = []
    if count == limit and (info.duration_from_header or 0) > count / rate + 1:
        found.append(
            f"the reference reads the first {count / rate:.1f} s of a video, so the rest of it "
            "does not count"
        )
    if info.rotation or info.mirrored:
        found.append("the reference does not rotate frames, so this video is read as it is coded")
    return tuple(found)


def _row(batch: Tensor | None) -> FloatArray | None:
    return None if batch is None else batch[0].float().cpu().numpy()


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
