"""Check features before a model reads them, and the scores it gives."""

from __future__ import annotations

import numpy as np

from vtnstream.config import ModelConfig
from vtnstream.errors import FeatureError, UsageError
from vtnstream.models.long_sequence.output import SequenceOutput
from vtnstream.types import FeatureSequence


def check_features(config: ModelConfig, num_features: int, features: FeatureSequence) -> None:
    """Check that features fit a model.

    Args:
        config: of the model.
        num_features: D of its backbone.
        features: to check.

    Raises:
        FeatureError: their number differs from the output of the model's backbone.
    """
    if features.num_features != num_features:
        raise FeatureError(
            f"features have {features.num_features} numbers per token, the model's backbone "
            f"{config.backbone.name} gives {num_features}: extract them with --model"
        )


def check_finite(config: ModelConfig, output: SequenceOutput) -> None:
    """Check the logits.

    Raises:
        FeatureError: the scores are not finite.
    """
    for logits in (output.logits, output.dense_logits):
        if logits is not None and not np.isfinite(logits).all():
            raise FeatureError(
                f"model {config.name} gives scores that are not finite: check its weights "
                "and the features"
            )


def check_attention(config: ModelConfig) -> None:
    """Check that a model gives attention weights of [CLS].

    Raises:
        UsageError: it has no global attention, or does not return it.
    """
    temporal = config.temporal
    if temporal.transformers_class is not None or temporal.kind == "tcn":
        raise UsageError(
            f"model {config.name} encodes time with {temporal.kind}, which does not return "
            "attention weights: train one that does with --recipe attention"
        )
    if not temporal.global_attention:
        raise UsageError(
            f"model {config.name} has no global attention, so there are no weights to show: "
            "train one with temporal.global_attention = true"
        )
