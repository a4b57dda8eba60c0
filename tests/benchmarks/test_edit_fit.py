"""The fit of the bundled model's evidence, and the variants of real videos that it is fitted on."""

from __future__ import annotations

import numpy as np

from benchmarks.edit_fit import fit
from benchmarks.shot_variants import Clip, FrameTruth, jump_cuts


def test_the_fit_recovers_weights() -> None:
    """Those that were drawn from; a column that speaks against a cut has no weight below 0."""
    random = np.random.default_rng(0)
    rows = random.normal(0, 1, (20000, 3))
    logits = -1 + rows @ np.array([2.0, 0.0, -1.0])
    truths = (random.random(20000) < 1 / (1 + np.exp(-logits))).astype(np.float64)
    bias, first, second, third = fit(rows, truths, np.ones(20000))
    assert abs(first - 2) < 0.4
    assert abs(bias + 1) < 0.3
    assert 0 <= second < 0.1
    assert 0 <= third < 0.05


def test_truth_follows_the_frames_that_are_kept() -> None:
    truth = FrameTruth(cuts=(5, 9), graduals=((2, 4),), open=((11, 11),))
    half = truth.picked(np.arange(0, 12, 2))
    assert half == FrameTruth(cuts=(3, 5), graduals=((1, 2),))
    doubled = truth.picked(np.arange(24) // 2)
    assert doubled.cuts == (10, 18)
    assert doubled.graduals == ((4, 9),)
    assert truth.until(9) == FrameTruth(cuts=(5,), graduals=((2, 4),))


def test_jump_cuts_are_where_the_view_changes() -> None:
    """Between two moments of a take whose image drifts far within it."""
    columns = np.arange(48)
    frames = np.stack(
        [np.where((columns + k) // 12 % 2, 220, 20)[None].repeat(32, 0) for k in range(0, 600, 2)]
    )
    frames = np.repeat(frames[..., None], 3, axis=-1).astype(np.uint8)
    starts = np.arange(300) / 25
    take = Clip("take", "learnt from", frames, starts, starts + 0.04, FrameTruth(), False)
    found = list(jump_cuts(take))
    assert found
    for clip in found:
        steps = np.abs(np.diff(clip.frames.astype(np.int16), axis=0)).mean((1, 2, 3))
        usual = np.median(steps)
        assert all(steps[cut - 1] > 2.9 * usual for cut in clip.truth.cuts)
        assert not (
            steps[[k for k in range(len(steps)) if k + 1 not in clip.truth.cuts]] > 3 * usual
        ).any()
    still = Clip(
        "still",
        "learnt from",
        frames[:1].repeat(100, 0),
        starts[:100],
        starts[:100],
        FrameTruth(),
        False,
    )
    assert not list(jump_cuts(still))
