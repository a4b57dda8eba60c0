"""Classify and localise with words or examples in place of a trained head."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from vtnstream.config import RuntimeConfig, TimelineConfig
from vtnstream.config.search import SearchConfig
from vtnstream.errors import UsageError
from vtnstream.inference.follow import Follower, follow_scores
from vtnstream.inference.report import report_of
from vtnstream.inference.request import Request
from vtnstream.labels import BACKGROUND
from vtnstream.localization.curves import score_curves
from vtnstream.localization.peaks import match_of
from vtnstream.localization.segments import to_segments
from vtnstream.progress import Progress
from vtnstream.scoring.analysis import Analysis, rank
from vtnstream.search.live import LabelScores
from vtnstream.search.reading import WHOLE, Part
from vtnstream.search.scoring import QueryScorer
from vtnstream.search.space import SearchSpace
from vtnstream.search.vectors import Scored, score
from vtnstream.transport.feed import Feed
from vtnstream.types import FloatArray, Report, ScoreTimeline, TokenTimes
from vtnstream.types.results import MATCH
from vtnstream.words.queries import Label

_HEAD_OPTIONS = ("window", "stride")


class Labeller(QueryScorer):
    """Labels as vectors, with which many videos are labelled.

    Labels exclude each other, with ``background`` where none reaches the floor; or with
    ``multi_label`` each is scored separately.

    Args:
        space, labels, runtime, progress: see :class:`QueryScorer`.
        multi_label: labels may overlap.

    Raises:
        VideoError: an example cannot be read.
        UsageError: a label has words, and the model understands none.
    """

    def __init__(
        self,
        space: SearchSpace,
        labels: Sequence[Label],
        *,
        multi_label: bool = False,
        runtime: RuntimeConfig | None = None,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(space, labels, runtime=runtime, progress=progress)
        self.names = tuple(label.name for label in self.labels)
        self.multi_label = multi_label

    def label(
        self,
        path: str | Path,
        options: TimelineConfig | None,
        part: Part = WHOLE,
        *,
        progress: Progress | None = None,
    ) -> Report:
        """Label one video.

        Args:
            path: a file or address.
            options: how to localise; None for the classes alone.
            part: the part of the video, or its stored features.
            progress: told how far decoding is.

        Returns:
            A report whose scores are matches.

        Raises:
            VtnstreamError: one line that names the file and what to do.
        """
        if options is not None:
            check_options(options)
        smooth = SearchConfig().smoothing_seconds
        if options is not None and options.smoothing != "none":
            smooth = 0.0

        def analyse(scored: Scored, times: TokenTimes) -> Analysis:
            return self._analysed(self._timeline(scored, times, smooth), options)

        report = self._report(
            path,
            smooth,
            analyse,
            options,
            part,
            progress,
        )
        return dataclasses.replace(report, score_name=MATCH)

    def follow(
        self,
        feed: Feed,
        request: Request,
        options: TimelineConfig,
        *,
        keep_seconds: float,
    ) -> AbstractContextManager[Follower]:
        """Label a stream while it arrives; see :func:`vtnstream.inference.follow.follow`.

        The score of a frame depends only on earlier frames, so that early scores are less certain.

        Raises:
            VideoError: the stream contains no video.
            UsageError: an option needs the whole video, or a trained head.
        """
        check_options(options)
        names = self.names if self.multi_label else (BACKGROUND, *self.names)
        scores_of = match_of if self.multi_label else _exclusive
        scores = LabelScores(self._vectors, self.space.project, names, scores_of)
        return follow_scores(
            feed,
            scores,
            self.space.encoder,
            self.space.sampling,
            options,
            multi_label=self.multi_label,
            keep_seconds=keep_seconds,
            runtime=self.runtime,
            stream=request.stream,
        )

    def stream_report(
        self,
        follower: Follower,
        request: Request,
        options: TimelineConfig,
        cut_short: str | None = None,
    ) -> Report:
        """Return the report of a stream that has ended: the classes of the part that was kept,
        as a whole. Its segments were emitted before."""
        source, space = follower.features(cut_short), self.space
        smooth = SearchConfig().smoothing_seconds
        scored = score(source.features, self._vectors, space.project, smooth)
        timeline = self._timeline(scored, source.features.times, smooth)
        analysis = self._analysed(timeline, None)
        report = report_of(
            follower.info.path,
            source,
            space.about,
            space.encoder.computed_on,
            space.sampling,
            options,
            analysis,
        )
        return dataclasses.replace(report, score_name=MATCH)

    def _timeline(self, scored: Scored, times: TokenTimes, smooth: float) -> ScoreTimeline:
        """Scores of the labels that reach the floor somewhere or come nearest to it."""
        kept = [number for number, one in enumerate(scored.evidence) if one is not None]
        columns = [one.smoothed(smooth).presence for one in scored.evidence if one is not None]
        evidence = np.stack(columns, axis=1)
        names = tuple(self.names[number] for number in kept)
        if self.multi_label:
            return ScoreTimeline(match_of(evidence), times, names, True, MATCH)
        scores = _exclusive(evidence)
        return ScoreTimeline(scores, times, (BACKGROUND, *names), False, MATCH)

    def _analysed(self, timeline: ScoreTimeline, options: TimelineConfig | None) -> Analysis:
        over_all = dict.fromkeys(self.names, 0.0)
        pooled = timeline.scores.max(axis=0) if self.multi_label else timeline.scores.mean(axis=0)
        over_all.update(
            (name, float(value))
            for name, value in zip(timeline.labels, pooled, strict=True)
            if name != BACKGROUND
        )
        classes = rank(np.array(list(over_all.values()), np.float32), tuple(over_all))
        if options is None:
            return Analysis(classes, None, (), ())
        segments = tuple(
            dataclasses.replace(segment, track=None) for segment in to_segments(timeline, options)
        )
        curves = score_curves(timeline, segments)
        return Analysis(classes, segments, timeline.labels, (MATCH,), scores=curves)


def _exclusive(evidence: FloatArray) -> FloatArray:
    """Log-odds (N, K) to scores (N, 1 + K) that sum to 1, the floor as ``background`` first."""
    count, labels = evidence.shape
    logits = np.zeros((count, labels + 1), np.float32)
    logits[:, 1:] = evidence
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    return logits


def check_options(options: TimelineConfig) -> None:
    """
    Raises:
        UsageError: an option of a trained head.
    """
    given = [name for name in _HEAD_OPTIONS if getattr(options, name) is not None]
    if options.localize != "auto":
        given.append("localize")
    if given:
        flag = f"--{given[0]}"
        raise UsageError(f"{flag} is for a trained head: leave it out with --labels")
