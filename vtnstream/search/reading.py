"""Features of a video for a query, with the facts for its report."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vtnstream.config import RuntimeConfig
from vtnstream.encoding.extract import extract_features
from vtnstream.encoding.stored import OpenedFeatures
from vtnstream.inference.feature_files import features_of_file
from vtnstream.inference.request import TimeLike, time_range
from vtnstream.progress import NullProgress, Progress
from vtnstream.search.space import SearchSpace
from vtnstream.video.local_copy import local_copy


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a video to ask about.

    Attributes:
        start, end: times as of :class:`vtnstream.inference.request.Request`; None is the beginning
            or the end of the video.
        stream: index of the video stream if a file has several.
        features: file of ``vtnstream extract`` that is read instead of the video.
    """

    start: TimeLike | None = None
    end: TimeLike | None = None
    stream: int | None = None
    features: str | Path | None = None


WHOLE = Part()
"""All of a video, of its first video stream."""


@contextmanager
def read_video(
    path: str | Path,
    space: SearchSpace,
    runtime: RuntimeConfig,
    part: Part = WHOLE,
    progress: Progress | None = None,
) -> Iterator[OpenedFeatures]:
    """Return a video's features in a space, of a feature file, stored or decoded now; valid
    inside the context.

    Raises:
        VtnstreamError: one line that names the file and what to do.
    """
    progress = progress or NullProgress()
    features, stream = part.features, part.stream
    if features is not None:
        with local_copy(path, progress, runtime.spool_limit_bytes) as place:
            span = time_range(place, part.start, part.end, stream)
            opened = features_of_file(place, features, space.encoder, space.sampling, span, stream)
            yield opened.named(path, place)
        return
    with (
        local_copy(path, progress, runtime.spool_limit_bytes) as place,
        extract_features(
            place,
            space.encoder,
            space.sampling,
            span=time_range(place, part.start, part.end, stream),
            runtime=runtime,
            stream=stream,
            progress=progress,
        ) as extracted,
    ):
        yield extracted.named(path, place)


def timed(source: OpenedFeatures, began: float, middle: float) -> OpenedFeatures:
    """Return the features with the seconds since ``began``, and of the search since
    ``middle``."""
    now = time.perf_counter()
    facts = dataclasses.replace(
        source.facts, search_seconds=round(now - middle, 3), seconds=round(now - began, 3)
    )
    return dataclasses.replace(source, facts=facts)
