"""How similar a video is to an example, as a number that is comparable between videos.

The evidence of :mod:`vtnstream.words.scoring` says where in one video an example is shown. To put
videos in order, single frames say too little: the mean of the frames of a span is steadier, and
the best frame is the more distinctive. The similarity is the mean of both cosines, minus half of
the cosine at which the video's own frames count as the same, since frames of a dull video are
near to each other and to everything.
"""

from __future__ import annotations

import numpy as np

from vtnstream.localization.runs import gap_free_runs
from vtnstream.types import FeatureSequence, FloatArray, SecondsArray, TokenTimes
from vtnstream.words.vectors import Project, unit, unit_blocks

_FLOOR_SHARE = 0.5
"""Share of the video's own floor that is taken off. Over five sets of clips (same scene, same
kind of action, halves of signs, takes and shots), the mean average precision with a half was .8
points higher than with all and 1.0 higher than with none of it; ``python -m benchmarks words
--data DIR`` compares it with the cosine of mean vectors."""


def example_similarities(
    features: FeatureSequence,
    cosines: FloatArray,
    examples: FloatArray,
    seconds: SecondsArray,
    floor: float,
    project: Project,
) -> FloatArray:
    """The similarity of a video to each of R examples.

    Args:
        features: T tokens of a backbone.
        cosines: (R, T) of the examples with the frames.
        examples: (R, E) unit vectors.
        seconds: (R,) length of each example, 0 for an image.
        floor: cosine at which the video's own frames count as the same.
        project: from features to the space of the examples.

    Returns:
        (R,) float32, higher is more similar: about 0.5 for the same moment, near 0 for unrelated
        ones. The span that is compared as a whole is as long as the example, at most the video,
        and lies where its mean cosine is highest, never across a gap.
    """
    windows = [
        _best_window(row, features.times, float(length))
        for row, length in zip(cosines, seconds, strict=True)
    ]
    sums = np.zeros(examples.shape, np.float64)
    start = 0
    for block in unit_blocks(features, project):
        stop = start + len(block)
        for number, window in enumerate(windows):
            first, last = max(window.start, start), min(window.stop, stop)
            if first < last:
                sums[number] += block[first - start : last - start].sum(axis=0)
        start = stop
    spans = np.einsum("re,re->r", unit(sums.astype(np.float32)), examples)
    return np.asarray(
        (spans + cosines.max(axis=1)) / 2 - _FLOOR_SHARE * floor,
        np.float32,
    )


def _best_window(cosines: FloatArray, times: TokenTimes, seconds: float) -> slice:
    """The tokens of the window of ``seconds`` with the highest mean cosine."""
    step = float(np.median(times.end_seconds - times.start_seconds))
    size = max(1, round(seconds / step)) if step > 0 else 1
    best, found = -np.inf, slice(0, 1)
    for run in gap_free_runs(times):
        values = cosines[run].astype(np.float64)
        length = min(size, len(values))
        total = np.concatenate([[0.0], np.cumsum(values)])
        means = (total[length:] - total[:-length]) / length
        place = int(means.argmax())
        if means[place] > best:
            best, found = float(means[place]), slice(run.start + place, run.start + place + length)
    return found
