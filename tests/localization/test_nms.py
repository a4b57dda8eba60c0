from __future__ import annotations

import numpy as np
import pytest

from vtnstream.errors import UsageError
from vtnstream.intervals import Interval, temporal_iou
from vtnstream.localization.nms import suppress
from vtnstream.types import Segment


def _random(seed: int, count: int = 25) -> list[Segment]:
    rng = np.random.default_rng(seed)
    starts = rng.uniform(0, 10, count)
    return [
        Segment(float(s), float(s + rng.uniform(0.1, 5)), str(rng.choice(["a", "b"])), float(p))
        for s, p in zip(starts, rng.permutation(count) / count, strict=True)
    ]


def _iou(a: Segment, b: Segment) -> float:
    return temporal_iou(Interval(a.start, a.end), Interval(b.start, b.end))


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
def test_hard_suppression_equals_its_definition(threshold: float) -> None:
    for seed in range(20):
        segments = _random(seed)
        kept: list[Segment] = []
        for segment in sorted(segments, key=lambda s: -s.score):
            same = [k for k in kept if k.label == segment.label]
            if all(_iou(segment, k) <= threshold for k in same):
                kept.append(segment)
        got = suppress(segments, "hard", threshold)
        assert got == sorted(kept, key=lambda s: (s.start, s.end, s.label))
        assert len(got) < len(segments)


def test_soft_suppression_equals_its_definition() -> None:
    for seed in range(20):
        segments = _random(seed)
        expected = []
        for label in "ab":
            left = [[s.score, s] for s in segments if s.label == label]
            while left:
                best = max(left, key=lambda item: item[0])
                left.remove(best)
                expected.append((best[1].start, best[1].end, label, best[0]))
                for item in left:
                    iou = _iou(item[1], best[1])
                    item[0] *= 1 - iou if iou > 0.3 else 1
        got = suppress(segments, "soft", 0.3)
        for have, want in zip(got, sorted(expected), strict=True):
            assert (have.start, have.end, have.label) == want[:3]
            assert have.score == pytest.approx(want[3])


def test_tracks_are_suppressed_separately_and_low_scores_dropped() -> None:
    one, two = Segment(0, 10, "a", 0.9, "dense"), Segment(0, 10, "a", 0.8, "sliding")
    assert suppress([one, two], "hard", 0.5) == [one, two]
    inner = Segment(1, 10, "a", 0.8, "dense")  # tIoU .9: falls to .08
    assert len(suppress([one, inner], "soft", 0.5)) == 2
    assert suppress([one, inner], "soft", 0.5, min_score=0.3) == [one]


def test_the_method_none_only_sorts() -> None:
    segments = _random(1)
    assert suppress(segments, "none", 0.5) == sorted(
        segments, key=lambda s: (s.start, s.end, s.label)
    )
    assert suppress([], "hard", 0.5) == []
    with pytest.raises(UsageError, match="known: hard, soft"):
        suppress(segments, "medium", 0.5)
