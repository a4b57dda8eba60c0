"""Turn the outputs of a model into classes, segments and curves.

Needs no torch: outputs that are stored answer a question without the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vtnstream.config import EventsConfig, HeadConfig, ModelConfig, TimelineConfig
from vtnstream.localization.curves import relative_weights, score_curves, time_curve
from vtnstream.localization.edit_style import (
    SHOTS_TRACK,
    STYLE_TRACK,
    edit_counts,
    edits_of,
    style_scores,
    window_styles,
    with_shot_numbers,
)
from vtnstream.localization.events import to_events
from vtnstream.localization.segments import to_segments
from vtnstream.localization.view_changes import ViewChanges
from vtnstream.localization.window_scores import combine
from vtnstream.models.long_sequence.output import SequenceOutput
from vtnstream.scoring.frame_changes import frame_changes
from vtnstream.scoring.frame_scores import frame_scores
from vtnstream.scoring.localization_plan import LocalizationPlan, knows_styles
from vtnstream.scoring.probabilities import class_probabilities, probabilities
from vtnstream.types import (
    ClassScore,
    Curve,
    FeatureSequence,
    FloatArray,
    FrameScores,
    HeadClasses,
    ScoreCurve,
    ScoreTimeline,
    Segment,
    TokenTimes,
)


@dataclass(frozen=True, slots=True)
class Analysis:
    """Result of a model for one video.

    Attributes:
        classes: classes of the whole video, best first; of a model with several class heads the
            best combinations.
        segments: None if no timeline was requested.
        labels: labels of the timeline.
        tracks: how the scores were made: ``dense``, ``sliding``, both or ``combined``.
        scores: curves of the most prominent labels.
        attention: attention of [CLS] over time, if the pass kept it.
        facts: how the video was read, for the report.
        warnings: requests that had no effect, one sentence each.
        frame_scores: the scores of each token, if they were requested.
        heads: classes by each of several class heads.
    """

    classes: tuple[ClassScore, ...]
    segments: tuple[Segment, ...] | None
    labels: tuple[str, ...]
    tracks: tuple[str, ...]
    scores: tuple[ScoreCurve, ...] = ()
    attention: Curve | None = None
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    frame_scores: FrameScores | None = None
    heads: tuple[HeadClasses, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """Outputs of a model before localisation.

    Attributes:
        output: of the whole video, with dense logits per token if requested.
        sliding: (N, K) probabilities of sliding windows, or None.
        facts: how the video was read.
    """

    output: SequenceOutput
    sliding: FloatArray | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def analysis_of(
    config: ModelConfig,
    features: FeatureSequence,
    plan: LocalizationPlan,
    reading: Reading,
    *,
    keep_scores: bool = False,
) -> Analysis:
    """Classify a video and, if ``plan`` has options, cut it into labelled segments.

    Args:
        config: of the model.
        features: T tokens of D features from the model's own backbone.
        plan: how to localise, resolved for this model.
        reading: the outputs of the model for these features. Its logits are overwritten, because
            a timeline may be large.
        keep_scores: also return the scores of each token.
    """
    head, options, output = config.head, plan.options, reading.output
    classes: tuple[ClassScore, ...] = ()
    heads: tuple[HeadClasses, ...] = ()
    if output.logits is not None:
        classes, heads = rank_heads(class_probabilities(output.logits[None], head)[0], head)
    if knows_styles(config):
        edited = _edited(config, features, plan, output, keep_scores)
        # The class follows from the cuts: the attention of [CLS] would not explain it.
        return replace(edited, facts={**reading.facts, **edited.facts})
    attention = _attention_curve(features.times, output)
    if options is None:
        facts = reading.facts
        return Analysis(classes, None, (), (), attention=attention, facts=facts, heads=heads)
    scores = timelines(config, features.times, plan, reading)
    measured = plan.dense and head.events is not None
    changes = frame_changes(config, features) if measured else None
    analysis = _localize(classes, scores, options, head.events, changes, keep_scores)
    return replace(
        analysis, attention=attention, facts=reading.facts, warnings=plan.warnings, heads=heads
    )


def timelines(
    config: ModelConfig, times: TokenTimes, plan: LocalizationPlan, reading: Reading
) -> list[ScoreTimeline]:
    """Return the scores of the tokens by the dense head and by sliding windows, as far as ``plan``
    asks for them. Of several class heads each has its own track. The logits of ``reading`` are
    overwritten."""
    head, found = config.head, []
    if plan.dense:
        if reading.output.dense_logits is None:
            raise AssertionError("a model with dense labels gave no dense logits")
        scores = probabilities(reading.output.dense_logits, head.multi_label)
        found.append(ScoreTimeline(scores, times, head.dense_labels, head.multi_label, "dense"))
    if reading.sliding is not None:
        for part in head.class_heads:
            scores = np.ascontiguousarray(reading.sliding[:, part.columns])
            track = part.name or "sliding"
            found.append(ScoreTimeline(scores, times, part.full_labels, head.multi_label, track))
    return found


def _attention_curve(times: TokenTimes, output: SequenceOutput) -> Curve | None:
    """Return the attention of [CLS] in the last layer that was kept, averaged over its heads."""
    if output.attention is None or not output.attention.any():
        return None
    return time_curve(times, relative_weights(output.attention[-1].mean(0)))


def rank(scores: FloatArray, labels: tuple[str, ...]) -> tuple[ClassScore, ...]:
    """Return all classes, best first; equal scores keep the order of the labels."""
    order = np.argsort(-scores, kind="stable")
    return tuple(ClassScore(labels[i], float(scores[i])) for i in order)


MOST_COMBINATIONS = 100
"""Number of combinations of several class heads that a result lists, as in EPIC-Kitchens."""


def rank_heads(
    scores: FloatArray, head: HeadConfig
) -> tuple[tuple[ClassScore, ...], tuple[HeadClasses, ...]]:
    """Return the classes of a video, and those of each head if there are several.

    A combination of one class of each head has the product of their probabilities as its score.

    Args:
        scores: (K,) probabilities.
        head: heads and labels.

    Returns:
        all classes, best first, and no heads; or the best combinations, and all classes of each
        head, best first.
    """
    if not head.heads:
        return rank(scores, head.labels), ()
    heads = tuple(
        HeadClasses(part.name, rank(scores[part.columns], part.labels)) for part in head.class_heads
    )
    best = [ClassScore("", 1.0)]
    for one in heads:  # the best combinations consist of the best of each head
        products = [
            ClassScore(f"{left.label} {right.label}".strip(), left.score * right.score)
            for left in best
            for right in one.classes[:MOST_COMBINATIONS]
        ]
        best = sorted(products, key=lambda item: -item.score)[:MOST_COMBINATIONS]
    return tuple(best), heads


def _edited(
    config: ModelConfig,
    features: FeatureSequence,
    plan: LocalizationPlan,
    output: SequenceOutput,
    keep_scores: bool,
) -> Analysis:
    """Find the shots and transitions of a video, and classify its style of editing from them."""
    head, times = config.head, features.times
    changes = frame_changes(config, features)
    if output.dense_logits is None or changes is None or head.events is None:
        raise AssertionError("a model of edits gave no scores of its tokens")
    scores = probabilities(output.dense_logits, False)
    timeline = ScoreTimeline(scores, times, head.dense_labels, False, SHOTS_TRACK)
    options = plan.options or TimelineConfig()
    segments = with_shot_numbers(to_events(timeline, head.events, options, changes))
    edits = edits_of(timeline, head.events, changes, segments)
    styles = style_scores(edits, 0, len(times))
    classes = rank(np.array([styles[name] for name in head.labels], np.float32), head.labels)
    facts = {"edits": edit_counts(segments, edits)}
    warnings = _rate_warnings(times)
    if plan.options is None:
        return Analysis(classes, None, (), (), facts=facts, warnings=warnings)
    wants_dense = options.localize != "sliding"
    tracks = (*([SHOTS_TRACK] * wants_dense), *([STYLE_TRACK] * plan.styles))
    found = segments if wants_dense else []
    if plan.styles:
        window, stride = options.num_window_tokens, options.num_stride_tokens
        found += window_styles(edits, times, window, stride, STYLE_TRACK)
    if len(tracks) == 1:
        found = [replace(segment, track=None) for segment in found]
    curves = score_curves(timeline, segments) if wants_dense else ()
    if len(tracks) > 1:
        curves = tuple(replace(curve, track=SHOTS_TRACK) for curve in curves)
    labels = (*(head.dense_labels if wants_dense else ()), *(head.labels if plan.styles else ()))
    ordered = sorted(found, key=lambda s: (s.start, s.end, s.track or "", s.label))
    found_all = tuple(ordered)
    kept = frame_scores([timeline], head.events, changes) if keep_scores else None
    return Analysis(
        *(classes, found_all, labels, tracks, curves),
        facts=facts,
        warnings=warnings,
        frame_scores=kept,
    )


_SLOWEST, _FASTEST = 3.9, 125.0


def _rate_warnings(times: TokenTimes) -> tuple[str, ...]:
    """Warn if the distance between frames differs from that on which edits were measured."""
    usual = float(np.median(np.diff(times.start_seconds))) if len(times) > 1 else 0.0
    if not usual or _SLOWEST <= 1 / usual <= _FASTEST:
        return ()
    return (
        f"{1 / usual:.3g} frames/s are outside of the 4 to 120 that cuts and transitions were "
        "measured on: expect false and missed ones",
    )


def _localize(
    classes: tuple[ClassScore, ...],
    timelines: list[ScoreTimeline],
    options: TimelineConfig,
    events: EventsConfig | None,
    changes: Sequence[ViewChanges] | None,
    keep_scores: bool,
) -> Analysis:
    """Cut timelines into segments: one track for one timeline or two with equal labels, else two
    tracks."""
    if len(timelines) == 2 and set(timelines[0].labels) == set(timelines[1].labels):
        timelines = [combine(timelines[0], timelines[1], out=timelines[0].scores)]
    tracks = tuple(timeline.track for timeline in timelines)
    kept = None
    if keep_scores and timelines:
        judged = events if timelines[0].track == "dense" else None
        kept = frame_scores(timelines, judged, changes)
    segments: list[Segment] = []
    scores: list[ScoreCurve] = []
    for timeline in timelines:
        if events is not None and timeline.track == "dense":
            cut = to_events(timeline, events, options, changes)
        else:
            cut = to_segments(timeline, options)
        curves = score_curves(timeline, cut)
        if len(timelines) == 1:
            cut = tuple(replace(segment, track=None) for segment in cut)
        else:
            curves = tuple(replace(curve, track=timeline.track) for curve in curves)
        segments += cut
        scores += curves
    labels = tuple(dict.fromkeys(label for t in timelines for label in t.labels))
    ordered = tuple(sorted(segments, key=lambda s: (s.start, s.end, s.track or "", s.label)))
    return Analysis(classes, ordered, labels, tracks, scores=tuple(scores), frame_scores=kept)
