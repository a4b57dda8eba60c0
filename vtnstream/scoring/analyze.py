"""Score the features of one video with a model: classes of the whole video and scores per token.

One pass over the whole sequence gives the class of the video and, if the model has a dense head,
scores for each token. Otherwise sliding windows through the class head give these scores.
Everything works in blocks of tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtnstream.models.long_sequence.output import SequenceOutput
from vtnstream.models.long_sequence.streaming import encode_sequence
from vtnstream.models.vivit.model import ViViT
from vtnstream.models.vivit.sequence import encode_whole
from vtnstream.scoring.analysis import Reading
from vtnstream.scoring.checks import check_attention, check_features, check_finite
from vtnstream.scoring.clips import clip_layout, score_clips
from vtnstream.scoring.localization_plan import LocalizationPlan
from vtnstream.scoring.sliding import SlidingWindows
from vtnstream.types import AttentionMap, FeatureSequence

if TYPE_CHECKING:
    from vtnstream.models.architectures import VideoModel
    from vtnstream.models.vtn.model import VTN


def read(
    model: VideoModel,
    features: FeatureSequence,
    plan: LocalizationPlan,
    *,
    output: SequenceOutput | None = None,
    whole: bool = False,
    scratch: Path | None = None,
) -> Reading:
    """Run a model over the features of one video.

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
    check_features(model.config, model.num_features, features)
    if isinstance(model, ViViT):
        reading = _read_clips(model, features, plan, output, whole)
    else:
        reading = _read_sequence(model, features, plan, output, scratch)
    check_finite(model.config, reading.output)
    return reading


def _read_sequence(
    model: VTN,
    features: FeatureSequence,
    plan: LocalizationPlan,
    output: SequenceOutput | None,
    scratch: Path | None,
) -> Reading:
    """Run a VTN: one pass over the whole sequence, and its sliding windows."""
    windows = None
    if plan.sliding and plan.options is not None:
        windows = SlidingWindows(model, features, plan.options)
    follower = windows.follower() if windows is not None and output is None else None
    output = output or encode_sequence(
        model, features, dense=plan.dense, attention=(-1,), scratch=scratch, windows=follower
    )
    if windows is None:
        return Reading(output)
    check_finite(model.config, output)  # before the windows are computed
    if follower is None:
        windows.read()
    return Reading(output, windows.result())


def _read_clips(
    model: ViViT,
    features: FeatureSequence,
    plan: LocalizationPlan,
    output: SequenceOutput | None,
    whole: bool,
) -> Reading:
    """Run a ViViT over sliding clips; their mean is the class of the video unless ``whole``
    requests one pass over all of it."""
    one_pass = whole or output is not None
    if output is None and (whole or plan.dense):
        output = encode_whole(model, features, dense=plan.dense)
    facts: dict[str, Any] = {"class_from": "one pass over the whole video"} if whole else {}
    if not plan.sliding and (one_pass or not model.config.head.labels):
        assert output is not None
        return Reading(output, facts=facts)
    layout = clip_layout(model, plan.options)
    scores = score_clips(model, features, layout, timeline=plan.sliding)
    facts |= {"clips": scores.num_clips, "clip_tokens": layout.size, "clip_stride": layout.hop}
    if not one_pass or output is None:
        facts["class_from"] = "the mean of the clips' logits"
        output = SequenceOutput(scores.logits, output.dense_logits if output else None)
    return Reading(output, scores.probabilities, facts)


def attention_map(
    model: VTN, features: FeatureSequence, *, scratch: Path | None = None
) -> tuple[AttentionMap, SequenceOutput]:
    """Return the attention of [CLS] in every layer and head, and the pass it came from.

    Memory: layers x heads x tokens numbers in addition to the pass.

    Raises:
        FeatureError: the features are not the model's.
        UsageError: the model has no global attention, or does not return it.
    """
    check_features(model.config, model.num_features, features)
    check_attention(model.config)
    layers = range(model.config.temporal.num_layers)
    output = encode_sequence(model, features, attention=layers, scratch=scratch)
    assert output.attention is not None
    return AttentionMap(output.attention, features.times), output
