"""Encode example images and spans of videos with the encoder that reads the videos."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from vtnstream.config import RuntimeConfig, SamplingConfig
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.encoding.extract import extract_features
from vtnstream.inference.request import time_range
from vtnstream.preprocess.spatial import frame_fit
from vtnstream.progress import Progress
from vtnstream.types import FloatArray, TimeRange
from vtnstream.video.image import read_image
from vtnstream.video.local_copy import local_copy
from vtnstream.words.queries import Example
from vtnstream.words.vectors import Project, unit, unit_blocks

_FEWEST = 3
_HIGHEST_RATE = 30
"""A span gets so many frames at least, by a rate up to this."""


@dataclass(frozen=True, slots=True, eq=False)
class ExampleVector:
    """An example in the space that is searched.

    Attributes:
        vector: (E,) of length 1.
        seconds: how long the span is; 0 for an image.
    """

    vector: FloatArray
    seconds: float


def example_vector(
    example: Example,
    encoder: FrameEncoder,
    sampling: SamplingConfig,
    project: Project,
    runtime: RuntimeConfig,
    progress: Progress,
) -> ExampleVector:
    """Return the vector of an example: of an image, or the mean over a span.

    Features of a span are stored like those of any video.

    Raises:
        VideoError: it cannot be read, or has no frame in the span.
        UsageError: the span is not a valid range of time.
    """
    if example.is_image:
        prepare = encoder.preprocess
        frames = read_image(example.path, frame_fit(prepare), interpolation=prepare.interpolation)
        return ExampleVector(unit(project(encoder.encode(frames)))[0], 0.0)
    with local_copy(example.path, progress, runtime.spool_limit_bytes) as place:
        span = time_range(place, example.start, example.end)
        with extract_features(
            place,
            encoder,
            _dense_enough(sampling, span),
            span=span,
            runtime=runtime,
            progress=progress,
        ) as extracted:
            total = np.zeros(0)
            for block in unit_blocks(extracted.features, project):
                sums = block.sum(axis=0, dtype=np.float64)
                total = sums if not len(total) else total + sums
            times = extracted.features.times
            seconds = float(times.end_seconds[-1] - times.start_seconds[0])
    return ExampleVector(unit(total[None].astype(np.float32))[0], seconds)


def _dense_enough(sampling: SamplingConfig, span: TimeRange) -> SamplingConfig:
    """Return the sampling of the videos, at a higher rate if a short span would have too few
    frames."""
    if span.end is None or sampling.kind != "rate":
        return sampling
    length = span.end - span.start
    if length * sampling.fps >= _FEWEST:
        return sampling
    rate = min(math.ceil(_FEWEST / length), _HIGHEST_RATE)
    return dataclasses.replace(sampling, fps=max(sampling.fps, Fraction(rate)))
