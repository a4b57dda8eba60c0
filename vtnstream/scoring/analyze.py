"""Score the features of one video: classes of the whole video and scores per token.

One pass over the whole sequence gives the class of the video and, if the model has a dense head,
scores for each token. Otherwise sliding windows through the class head give these scores.
Everything works in blocks of tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vtnstream.config import EventsConfig, TimelineConfig
from vtnstream.errors import FeatureError, UsageError
from vtnstream.localization.curves import relative_weights, score_curves, time_curve
from vtnstream.localization.edit_style import (
    SHOTS_TRACK,
    STYLE_TRACK,
    edit_counts,
    edits_of,
    style_scores,
    window_styles,
)
from vtnstream.localization.events import to_events
from vtnstream.localization.segments import to_segments
from vtnstream.localization.view_changes import ViewChanges
from vtnstream.localization.window_scores import combine
from vtnstream.models.long_sequence.streaming import SequenceOutput, encode_sequence
from vtnstream.models.vivit.model import ViViT
from vtnstream.models.vivit.sequence import encode_whole
from vtnstream.scoring.clips import clip_layout, score_clips
from vtnstream.scoring.frame_changes import frame_changes
from vtnstream.scoring.localization_plan import LocalizationPlan, knows_styles
from vtnstream.scoring.probabilities import probabilities
from vtnstream.scoring.sliding import SlidingWindows
from vtnstream.types import (
    AttentionMap,
    ClassScore,
    Curve,
    FeatureSequence,
    FloatArray,
    ScoreCurve,
    ScoreTimeline,
    Segment,
    TokenTimes,
)

if TYPE_CHECKING:
    from vtnstream.models.architectures import VideoModel
    from vtnstream.models.vtn.model import VTN


@dataclass(frozen=True, slots=True)
class Analysis:
    """Result of a model for one video.

    Attributes:
        classes: classes of the whole video, best first.
        segments: None if no timeline was requested.
        labels: labels of the timeline.
        tracks: how the scores were made: ``dense``, ``sliding``, both or ``combined``.
        scores: curves of the most prominent labels.
        attention: attention of [CLS] over time, if the pass kept it.
        facts: how the video was read, for the report.
        warnings: requests that had no effect, one sentence each.
    """

    classes: tuple[ClassScore, ...]
    segments: tuple[Segment, ...] | None
    labels: tuple[str, ...]
    tracks: tuple[str, ...]
    scores: tuple[ScoreCurve, ...] = ()
    attention: Curve | None = None
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def analyze(
    model: VideoModel,
    features: FeatureSequence,
    plan: LocalizationPlan,
    *,
    output: SequenceOutput | None = None,
    whole: bool = False,
    scratch: Path | None = None,
) -> Analysis:
    """Classify a video and, if ``plan`` has options, cut it into labelled segments.

    Args:
        model: in evaluation mode.
        features: T tokens of D features from the model's own backbone.
        plan: how to localise, resolved for this model.
        output: the pass over the whole sequence, if it was made before (end-to-end).
        whole: let a ViViT that supports it read the video as one sequence instead of in clips (a
            VTN always does).
        scratch: folder for states of the temporal encoder that do not fit into memory.

    Raises:
        FeatureError: the features are not the model's, or lead to scores that are not finite.
    """
    _check_features(model, features)
    head, options = model.config.head, plan.options
    if isinstance(model, ViViT):
        read = _read_clips(model, features, plan, output, whole)
    else:
        read = _read_sequence(model, features, plan, output, scratch)
    output = read.output
    _check_finite(model, output)
    classes: tuple[ClassScore, ...] = ()
    if output.logits is not None:
        classes = rank(probabilities(output.logits[None], head.multi_label)[0], head.labels)
    attention = _attention_curve(features.times, output)
    if knows_styles(model):
        edited = _edited(model, features, plan, output)
        return replace(edited, attention=attention, facts={**read.facts, **edited.facts})
    if options is None:
        return Analysis(classes, None, (), (), attention=attention, facts=read.facts)
    timelines = _timelines(model, features, plan, read)
    measured = plan.dense and head.events is not None
    changes = frame_changes(model.config, features) if measured else None
    analysis = _localize(classes, timelines, options, head.events, changes)
    return replace(analysis, attention=attention, facts=read.facts, warnings=plan.warnings)


def token_scores(
    model: VideoModel, features: FeatureSequence, plan: LocalizationPlan
) -> list[ScoreTimeline]:
    """Scores of each token, of the dense head or of sliding windows or of both.

    Args:
        model: in evaluation mode.
        features: T tokens of D features from the model's own backbone.
        plan: how to localise, with options, resolved for this model.

    Raises:
        FeatureError: the features are not the model's, or lead to scores that are not finite.
    """
    _check_features(model, features)
    if isinstance(model, ViViT):
        read = _read_clips(model, features, plan, None, False)
    else:
        read = _read_sequence(model, features, plan, None, None)
    _check_finite(model, read.output)
    return _timelines(model, features, plan, read)


def _timelines(
    model: VideoModel, features: FeatureSequence, plan: LocalizationPlan, read: _Reading
) -> list[ScoreTimeline]:
    head, timelines = model.config.head, []
    if plan.dense:
        if read.output.dense_logits is None:
            raise AssertionError("a model with dense labels gave no dense logits")
        scores = probabilities(read.output.dense_logits, head.multi_label)
        timelines.append(
            ScoreTimeline(scores, features.times, head.dense_labels, head.multi_label, "dense")
        )
    if read.sliding is not None:
        timelines.append(
            ScoreTimeline(read.sliding, features.times, head.labels, head.multi_label, "sliding")
        )
    return timelines


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """Outputs of a model before localisation.

    Attributes:
        output: of the whole video, with dense logits per token if requested.
        sliding: (N, K) probabilities of sliding windows, or None.
        facts: how the video was read.
    """

    output: SequenceOutput
    sliding: FloatArray | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def _read_sequence(
    model: VTN,
    features: FeatureSequence,
    plan: LocalizationPlan,
    output: SequenceOutput | None,
    scratch: Path | None,
) -> _Reading:
    """Run a VTN: one pass over the whole sequence, and its sliding windows."""
    windows = None
    if plan.sliding and plan.options is not None:
        windows = SlidingWindows(model, features, plan.options)
    follower = windows.follower() if windows is not None and output is None else None
    output = output or encode_sequence(
        model, features, dense=plan.dense, attention=(-1,), scratch=scratch, windows=follower
    )
    if windows is None:
        return _Reading(output)
    _check_finite(model, output)  # before the windows are computed
    if follower is None:
        windows.read()
    return _Reading(output, windows.result())


def _read_clips(
    model: ViViT,
    features: FeatureSequence,
    plan: LocalizationPlan,
    output: SequenceOutput | None,
    whole: bool,
) -> _Reading:
    """Run a ViViT over sliding clips; their mean is the class of the video unless ``whole``
    requests one pass over all of it."""
    one_pass = whole or output is not None
    if output is None and (whole or plan.dense):
        output = encode_whole(model, features, dense=plan.dense)
    facts: dict[str, Any] = {"class_from": "one pass over the whole video"} if whole else {}
    if not plan.sliding and (one_pass or not model.config.head.labels):
        assert output is not None
        return _Reading(output, facts=facts)
    layout = clip_layout(model, plan.options)
    scores = score_clips(model, features, layout, timeline=plan.sliding)
    facts |= {"clips": scores.num_clips, "clip_tokens": layout.size, "clip_stride": layout.hop}
    if not one_pass or output is None:
        facts["class_from"] = "the mean of the clips' logits"
        output = SequenceOutput(scores.logits, output.dense_logits if output else None)
    return _Reading(output, scores.probabilities, facts)


def _check_finite(model: VideoModel, output: SequenceOutput) -> None:
    """Check the logits.

    Raises:
        FeatureError: the scores are not finite.
    """
    for logits in (output.logits, output.dense_logits):
        if logits is not None and not np.isfinite(logits).all():
            raise FeatureError(
                f"model {model.config.name} gives scores that are not finite: check its weights "
                "and the features"
            )


def _attention_curve(times: TokenTimes, output: SequenceOutput) -> Curve | None:
    """Return the attention of [CLS] in the last layer that was kept, averaged over its heads."""
    if output.attention is None or not output.attention.any():
        return None
    return time_curve(times, relative_weights(output.attention[-1].mean(0)))


def attention_map(
    model: VTN, features: FeatureSequence, *, scratch: Path | None = None
) -> tuple[AttentionMap, SequenceOutput]:
    """Return the attention of [CLS] in every layer and head, and the pass it came from.

    Memory: layers x heads x tokens numbers in addition to the pass.

    Raises:
        FeatureError: the features are not the model's.
        UsageError: the model has no global attention, or does not return it.
    """
    _check_features(model, features)
    temporal = model.config.temporal
    if temporal.transformers_class is not None or temporal.kind == "tcn":
        raise UsageError(
            f"model {model.config.name} encodes time with {temporal.kind}, which does not return "
            "attention weights"
        )
    if not temporal.global_attention:
        raise UsageError(
            f"model {model.config.name} has no global attention, so there are no weights to show"
        )
    output = encode_sequence(model, features, attention=range(temporal.num_layers), scratch=scratch)
    assert output.attention is not None
    return AttentionMap(output.attention, features.times), output


def _check_features(model: VideoModel, features: FeatureSequence) -> None:
    """Check that features fit a model.

    Raises:
        FeatureError: their number differs from the output of the model's backbone.
    """
    if features.num_features != model.num_features:
        raise FeatureError(
            f"features have {features.num_features} numbers per token, the model's backbone "
            f"{model.config.backbone.name} gives {model.num_features}: extract them with --model"
        )


def rank(scores: FloatArray, labels: tuple[str, ...]) -> tuple[ClassScore, ...]:
    """Return all classes, best first; equal scores keep the order of the labels."""
    order = np.argsort(-scores, kind="stable")
    return tuple(ClassScore(labels[i], float(scores[i])) for i in order)


def _edited(
    model: VideoModel, features: FeatureSequence, plan: LocalizationPlan, output: SequenceOutput
) -> Analysis:
    """Find the shots and transitions of a video, and classify its style of editing from them."""
    head, times = model.config.head, features.times
    changes = frame_changes(model.config, features)
    if output.dense_logits is None or changes is None or head.events is None:
        raise AssertionError("a model of edits gave no scores of its tokens")
    scores = probabilities(output.dense_logits, False)
    timeline = ScoreTimeline(scores, times, head.dense_labels, False, SHOTS_TRACK)
    options = plan.options or TimelineConfig()
    segments = to_events(timeline, head.events, options, changes)
    edits = edits_of(timeline, head.events, changes, segments)
    styles = style_scores(edits, 0, len(times))
    classes = rank(np.array([styles[name] for name in head.labels], np.float32), head.labels)
    facts = {"edits": edit_counts(segments, edits)}
    warnings = _rate_warnings(times)
    if plan.options is None:
        return Analysis(classes, None, (), (), facts=facts, warnings=warnings)
    wants_dense = options.localize != "sliding"
    tracks = (*([SHOTS_TRACK] * wants_dense), *([STYLE_TRACK] * plan.styles))
    found = list(segments) if wants_dense else []
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
    return Analysis(classes, found_all, labels, tracks, curves, facts=facts, warnings=warnings)


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
) -> Analysis:
    """Cut timelines into segments: one track for one timeline or two with equal labels, else two
    tracks."""
    if len(timelines) == 2 and set(timelines[0].labels) == set(timelines[1].labels):
        timelines = [combine(timelines[0], timelines[1], out=timelines[0].scores)]
    tracks = tuple(timeline.track for timeline in timelines)
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
    return Analysis(classes, ordered, labels, tracks, scores=tuple(scores))
