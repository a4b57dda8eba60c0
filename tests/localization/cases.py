"""Random timelines for the localization tests."""

from __future__ import annotations

import numpy as np

from vtnstream.types import FloatArray, ScoreTimeline, TokenTimes


def token_times(durations: list[float], *, holes: dict[int, float] | None = None) -> TokenTimes:
    """Return consecutive tokens of given lengths; ``holes`` maps a token to the seconds that
    are missing before it (together with one index)."""
    starts, ends, indices, now, index = [], [], [], 0.0, 0
    for i, duration in enumerate(durations):
        if holes and i in holes:
            now, index = now + holes[i], index + 1
        starts.append(now)
        now += duration
        ends.append(now)
        indices.append(index)
        index += 1
    whole = np.array(indices, np.int64)
    return TokenTimes(whole, whole.copy(), np.array(starts, float), np.array(ends, float))


def random_scores(rng: np.random.Generator, count: int, num_labels: int) -> FloatArray:
    """Return softmax rows that favour one label for a few tokens at a time."""
    logits = rng.normal(size=(count, num_labels)) * rng.choice([0.5, 2.0])
    stretch = np.repeat(rng.integers(0, num_labels, count), rng.integers(1, 6, count))[:count]
    logits[np.arange(count), stretch] += 2
    scores = np.exp(logits)
    return (scores / scores.sum(1, keepdims=True)).astype(np.float32)


def random_timeline(
    seed: int, *, multi_label: bool = False, background: bool = True
) -> ScoreTimeline:
    """Return a timeline of 1 to 60 tokens of uneven length with up to 3 gaps."""
    rng = np.random.default_rng(seed)
    count, num_labels = int(rng.integers(1, 60)), int(rng.integers(1, 6))
    holes = {int(i): float(rng.uniform(0.1, 3)) for i in rng.integers(1, 60, rng.integers(0, 4))}
    times = token_times(rng.uniform(0.05, 1.0, count).tolist(), holes=holes)
    scores = random_scores(rng, count, num_labels)
    names = ["background", *"abcdef"] if background else list("abcdef")
    if multi_label:
        scores = rng.random((count, num_labels), dtype=np.float32)
    return ScoreTimeline(scores, times, tuple(names[:num_labels]), multi_label)
