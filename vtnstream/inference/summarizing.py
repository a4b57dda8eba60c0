"""Make a summary of a video from its timeline and from the attention of [CLS]; without torch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from vtnstream.config import ModelConfig
from vtnstream.config.summary import SummaryConfig
from vtnstream.editing.summary import choose, filled, joined, pieces_of
from vtnstream.errors import UsageError
from vtnstream.localization.edit_style import SHOTS_TRACK
from vtnstream.models.long_sequence.output import SequenceOutput
from vtnstream.scoring.analysis import Analysis
from vtnstream.scoring.localization_plan import knows_styles
from vtnstream.types import AttentionMap, FeatureSequence


def summarized(
    path: str | Path,
    config: ModelConfig,
    features: FeatureSequence,
    output: SequenceOutput,
    analysis: Analysis,
    options: SummaryConfig,
) -> Analysis:
    """Return the analysis with the selected parts as its segments.

    Args:
        path: of the video, for the message.
        config: of the model.
        features: N tokens.
        output: of the model, with the attention of the last layer.
        analysis: the timeline.
        options: lengths, and the weight of variety.

    Raises:
        UsageError: no part fits the length.
    """
    assert output.attention is not None
    times = features.times
    weights = AttentionMap(output.attention, times).row()
    span = (float(times.start_seconds[0]), float(times.end_seconds[-1]))
    shots = [s for s in analysis.segments or () if s.track in (None, "dense", SHOTS_TRACK)]
    left_out = ("black",) if knows_styles(config) else ()
    offered = pieces_of(features, weights, shots, span, options, left_out)
    kept = filled(offered, choose(offered, options), options)
    if not kept:
        raise UsageError(
            f"{path}: no piece of at least {options.shortest:g} s fits a summary of "
            f"{options.length:g} s: give a greater --length"
        )
    return dataclasses.replace(analysis, segments=tuple(joined(kept)))
