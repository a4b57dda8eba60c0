"""Analyse a stream while it arrives, and emit segments when they are final.

stream -> decoded tokens -> backbone -> ring of features -> final scores -> segments. Memory does
not grow with the stream. Final segments equal those of an ordinary run over the complete video.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from vtnstream.config import RuntimeConfig, SamplingConfig, TimelineConfig
from vtnstream.config.runtime import default_cache_dir
from vtnstream.encoding.encoder import FrameEncoder, limit_threads
from vtnstream.encoding.partial import gaps
from vtnstream.encoding.run_facts import RunFacts
from vtnstream.encoding.stored import OpenedFeatures
from vtnstream.errors import StoreError, UsageError, VideoDecodeError
from vtnstream.features.ring import FeatureRing
from vtnstream.localization.stream import SegmentStream, smoothing_reach
from vtnstream.models.vtn.model import VTN
from vtnstream.preprocess.spatial import frame_fit
from vtnstream.scoring.localization_plan import knows_styles
from vtnstream.scoring.stream import StreamScores, stream_scores
from vtnstream.transport.feed import Feed
from vtnstream.types import Partial, Segment, TokenTimes, VideoInfo
from vtnstream.video.sampling.prefetch import prefetch
from vtnstream.video.source import VideoSource, open_video

_CHUNKS_AHEAD = 4
_TOKENS_AT_ONCE = 4
"""Default batch size. A GPU is faster with more tokens, and segments would be later."""


@dataclass(frozen=True, slots=True)
class SegmentUpdate:
    """The next segments of a stream. Segments that are not ``final`` replace all that were emitted
    as not final since the last final one."""

    segments: tuple[Segment, ...]
    final: bool


_STYLES_ALONE = (
    "--follow says how each window is edited by the network alone: shots, cuts and cropped bars, "
    "which are measured over the whole video, need vtnstream timeline on a recording"
)


@contextmanager
def follow(
    feed: Feed,
    model: VTN,
    encoder: FrameEncoder,
    sampling: SamplingConfig,
    options: TimelineConfig,
    *,
    keep_seconds: float,
    runtime: RuntimeConfig,
    stream: int | None = None,
) -> Iterator[Follower]:
    """Open a stream to be followed.

    Args:
        feed: its bytes.
        model: in evaluation mode.
        encoder: the model's frame encoder.
        sampling: which frames: a rate, a stride, all or keyframes.
        options: how segments are cut.
        keep_seconds: the last seconds of the stream that the final class covers.
        runtime: batch size, cache directory.
        stream: index of the video stream.

    Raises:
        VideoError: the stream contains no video.
        UsageError: the model or an option needs the whole video.
    """
    scores = stream_scores(model, options)
    with follow_scores(
        feed,
        scores,
        encoder,
        sampling,
        options,
        multi_label=model.config.head.multi_label,
        keep_seconds=keep_seconds,
        runtime=runtime,
        stream=stream,
    ) as follower:
        if knows_styles(model.config):
            follower.warnings = (_STYLES_ALONE,)
        yield follower


@contextmanager
def follow_scores(
    feed: Feed,
    scores: StreamScores,
    encoder: FrameEncoder,
    sampling: SamplingConfig,
    options: TimelineConfig,
    *,
    multi_label: bool,
    keep_seconds: float,
    runtime: RuntimeConfig,
    stream: int | None = None,
) -> Iterator[Follower]:
    """Open a stream to be followed by any method that scores its features.

    Args:
        scores: the method.
        multi_label: whether its labels may overlap.
        feed, encoder, sampling, options, keep_seconds, runtime, stream: see :func:`follow`.

    Raises:
        VideoError: the stream contains no video.
        UsageError: an option needs the whole video.
    """
    if sampling.kind == "uniform":
        raise UsageError(
            f"sampling {sampling.describe()} needs the whole video: follow with --fps N"
        )
    limit_threads(runtime)
    size = runtime.batch_size or _TOKENS_AT_ONCE
    segments = SegmentStream(scores.labels, multi_label, options, scores.track)
    with ExitStack() as stack:
        stack.callback(feed.close)
        folder = Path(stack.enter_context(_temporary_folder(runtime)))
        video = stack.enter_context(
            open_video(
                feed,
                sampling,
                fit=frame_fit(encoder.preprocess),
                interpolation=encoder.preprocess.interpolation,
                chunk_size=size,
                stream=stream,
                skip=False,
            )
        )
        ring = FeatureRing(folder, encoder.num_features, keep_seconds)
        wait = scores.delay_tokens + smoothing_reach(options) + size + 1
        delay = wait / _tokens_per_second(sampling, video.info)
        delay += max(options.min_duration, options.merge_gap)
        yield Follower(video, encoder, size, ring, scores, segments, round(delay, 3))


def _temporary_folder(runtime: RuntimeConfig) -> tempfile.TemporaryDirectory[str]:
    place = (runtime.cache_dir or default_cache_dir()) / "live"
    try:
        place.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=place)
    except OSError as error:
        raise StoreError(
            f"{place}: features cannot be stored ({error.strerror or error}): choose another "
            "place with --cache-dir"
        ) from error


def _tokens_per_second(sampling: SamplingConfig, info: VideoInfo) -> float:
    if sampling.kind == "rate":
        return float(sampling.fps)
    frames = float(info.average_rate or Fraction(25))
    return frames / sampling.stride if sampling.kind == "stride" else frames


class Follower:
    """A stream that runs through a model (see :func:`follow`).

    Attributes:
        info: the header of the stream.
        track: ``dense`` or ``sliding``.
        labels: labels of the segments.
        delay_seconds: time from showing a token until a final segment can contain it.
        num_final: final segments emitted so far.
        num_tokens: tokens read.
        warnings: what differs from the analysis of a whole video, one sentence each.
    """

    def __init__(
        self,
        video: VideoSource,
        encoder: FrameEncoder,
        batch_size: int,
        ring: FeatureRing,
        scores: StreamScores,
        segments: SegmentStream,
        delay_seconds: float,
    ) -> None:
        self.info = video.info
        self.warnings: tuple[str, ...] = ()
        self.track, self.labels = scores.track, scores.labels
        self.delay_seconds = delay_seconds
        self.num_final = 0
        self.num_tokens = 0
        self._video, self._encoder, self._size = video, encoder, batch_size
        self._ring, self._scores, self._cutter = ring, scores, segments
        self._emitted: tuple[Segment, ...] = ()
        self._gaps = 0
        self._last_end: float | None = None

    def updates(self) -> Iterator[SegmentUpdate]:
        """Yield segments as they become final until the stream ends, and open segments as they
        change.

        Raises:
            VideoError: no frame of the stream could be decoded.
        """
        run = self._encoder.runner(self._size)
        with closing(prefetch(self._video.chunks(), depth=_CHUNKS_AHEAD)) as chunks:
            for chunk in chunks:
                if not len(chunk.times):
                    continue
                values = run(chunk.frames)
                self._note(chunk.times)
                self._ring.append(values, chunk.times)
                final = self._cutter.push(*self._scores.push(values, chunk.times))
                if final:
                    self.num_final += len(final)
                    self._emitted = ()
                    yield SegmentUpdate(final, True)
                yield from self._open_segments()
        if not self.num_tokens:
            raise VideoDecodeError(f"{self.info.path}: no frame could be sampled from the stream")

    def pending(self) -> tuple[Segment, ...]:
        """Return the segments that are not final yet, as they are if the stream ends now."""
        return self._cutter.pending(*self._scores.pending())

    def _open_segments(self) -> Iterator[SegmentUpdate]:
        """Emit the open segments again if a label or a start changed; their ends change with
        every token."""
        found = self.pending()
        if [(s.start, s.label) for s in found] != [(s.start, s.label) for s in self._emitted]:
            self._emitted = found
            yield SegmentUpdate(found, False)

    def _note(self, times: TokenTimes) -> None:
        self.num_tokens += len(times)
        self._gaps += len(gaps(times))
        start = float(times.start_seconds[0])
        if self._last_end is not None and start - self._last_end > 1e-6:
            self._gaps += 1
        self._last_end = float(times.end_seconds[-1])

    def features(self, cut_short: str | None) -> OpenedFeatures:
        """Return the kept features and the facts of the run, for the report.

        Args:
            cut_short: why the stream was left before its end, or None.
        """
        summary, times = self._video.summary, self._ring.times
        reasons = [cut_short] if cut_short else []
        reasons += [p for p in summary.problems if not (cut_short and p in summary.end_problems)]
        partial = None
        if reasons:
            partial = Partial(
                reasons=tuple(reasons),
                seconds_read=float(np.sum(times.end_seconds - times.start_seconds)),
                seconds_expected=None,
                gaps=tuple(gaps(times)),
                num_packet_errors=summary.stats.num_packet_errors,
                num_corrupt=summary.stats.num_corrupt,
            )
        facts = RunFacts(
            tokens=self.num_tokens,
            features=self._ring.num_features,
            frames_decoded=summary.stats.num_frames,
            kept_tokens=len(times),
            gaps=self._gaps,
            delay_seconds=self.delay_seconds,
            batch_size=self._size,
        )
        warnings = self.warnings + self.info.warnings + summary.warnings
        return OpenedFeatures(
            features=self._ring, info=self.info, partial=partial, warnings=warnings, facts=facts
        )
