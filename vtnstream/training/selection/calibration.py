"""Calibrate scores by a temperature (Guo et al., ICML 2017)."""

from __future__ import annotations

import numpy as np

from vtnstream.types import FloatArray, IndexArray

TEMPERATURES = np.geomspace(0.25, 8.0, 141)


def fit_temperature(answers: FloatArray, targets: IndexArray) -> float:
    """Return the temperature with the lowest cross-entropy.

    Args:
        answers: (N, K) log-probabilities of held-out tokens or videos.
        targets: (N,) their classes.

    Returns:
        a number that divides the logits; 1 without targets.
    """
    if not len(targets):
        return 1.0
    rows = np.arange(len(targets))
    losses = []
    for temperature in TEMPERATURES:
        scaled = answers.astype(np.float64) / temperature
        peak = scaled.max(1, keepdims=True)
        norm = peak[:, 0] + np.log(np.exp(scaled - peak).sum(1))
        losses.append(float((norm - scaled[rows, targets]).mean()))
    return float(TEMPERATURES[int(np.argmin(losses))])
