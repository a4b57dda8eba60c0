"""What the heads of a model give for one sequence; without torch, so that stored results can be
read where torch is not imported."""

from __future__ import annotations

from dataclasses import dataclass

from vtnstream.types import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class SequenceOutput:
    """Results of the heads for one sequence of N tokens.

    Attributes:
        logits: (K,) float32 of the whole sequence, or None without an MLP head.
        dense_logits: (N, Kd) float32 of each token, or None without a dense head.
        attention: (layers, H, N) float32, attention weights of [CLS] on each token in the
            requested layers; they sum to 1 with the weight on [CLS] itself.
    """

    logits: FloatArray | None
    dense_logits: FloatArray | None
    attention: FloatArray | None = None
