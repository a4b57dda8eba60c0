"""Segments emitted while a timeline grows equal those of the whole timeline."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vtnstream.config import TimelineConfig
from vtnstream.errors import UsageError
from vtnstream.localization import stream
from vtnstream.localization.segments import to_segments
from vtnstream.localization.stream import SegmentStream
from vtnstream.types import FloatArray, ScoreTimeline, Segment, TokenTimes

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "background": {"background": True},
    "median": {"smoothing": "median", "smoothing_size": 7},
    "gaussian": {"smoothing": "gaussian", "smoothing_size": 6},
    "shortest": {"min_duration": 2.0},
    "joined": {"merge_gap": 1.5},
    "threshold": {"threshold": 0.5},
    "hysteresis": {"onset": 0.6, "offset": 0.3},
    "everything": {
        "smoothing": "median",
        "min_duration": 1.5,
        "merge_gap": 1.0,
        "onset": 0.5,
        "offset": 0.2,
        "background": True,
    },
}


def timeline(seed: int, num_tokens: int = 400, *, multi: bool = False) -> ScoreTimeline:
    """Return randomly varying scores over tokens with gaps and one late start."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(num_tokens, 4)).cumsum(0) * 0.7 + random.normal(
        size=(num_tokens, 4)
    )
    logits -= logits.mean(0)
    scores = 1 / (1 + np.exp(-logits))
    if not multi:
        scores = np.exp(logits - logits.max(1, keepdims=True))
        scores /= scores.sum(1, keepdims=True)
    indices = np.arange(num_tokens) + 3
    for gap in random.choice(num_tokens, 3, replace=False):
        indices[gap:] += 5
    start = indices / 2
    end = np.where(np.diff(indices, append=indices[-1] + 2) == 1, start + 0.5, start + 0.2)
    times = TokenTimes(indices.astype(np.int64), indices.astype(np.int64), start, end)
    labels = ("background", "a", "b", "c")
    return ScoreTimeline(scores.astype(np.float32), times, labels, multi, "sliding")


def no_scores() -> tuple[FloatArray, TokenTimes]:
    return np.empty((0, 4), np.float32), TokenTimes.empty()


def same(found: list[Segment], expected: tuple[Segment, ...]) -> bool:
    exact = [(s.start, s.end, s.label, s.track) for s in found]
    return exact == [(s.start, s.end, s.label, s.track) for s in expected] and np.allclose(
        [s.score for s in found], [s.score for s in expected], atol=1e-6
    )


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_stream_gives_the_segments_of_the_whole_timeline(case: str, multi: bool) -> None:
    options = TimelineConfig(**CASES[case])
    told_early = 0
    for seed in range(8):
        whole = timeline(seed, multi=multi)
        cutter = SegmentStream(whole.labels, multi, options, "sliding")
        dice = np.random.default_rng(seed)
        said: list[Segment] = []
        place = 0
        while place < len(whole.times):
            step = slice(place, place + int(dice.integers(1, 9)))
            said += cutter.push(whole.scores[step], whole.times[step])
            place = step.stop
        told_early += len(said)
        said += cutter.pending(*no_scores())
        if multi:  # labels overlap, so that those of one stretch may come in another order
            said.sort(key=lambda s: (s.start, s.end, s.label))
        assert same(said, to_segments(whole, options)), seed
    assert told_early > 0


def test_pending_segments_equal_those_of_an_ended_timeline() -> None:
    options = TimelineConfig(smoothing="median", min_duration=1.0)
    whole = timeline(3)
    cutter = SegmentStream(whole.labels, False, options, "sliding")
    said: list[Segment] = []
    for place in range(0, 300, 10):
        said += cutter.push(whole.scores[place : place + 10], whole.times[place : place + 10])
        rest = slice(place + 10, place + 25)  # scores that are not final
        seen = ScoreTimeline(
            whole.scores[: rest.stop], whole.times[: rest.stop], whole.labels, False, "sliding"
        )
        expected = to_segments(seen, options)
        assert same([*said, *cutter.pending(whole.scores[rest], whole.times[rest])], expected)


def test_scores_are_discarded_and_long_segments_come_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "MOST_TOKENS", 50)
    scores = np.zeros((500, 4), np.float32)
    scores[:, 1] = 1
    indices = np.arange(500)
    times = TokenTimes(indices, indices, indices / 2, indices / 2 + 0.5)
    cutter = SegmentStream(("background", "a", "b", "c"), False, TimelineConfig(), "sliding")
    said: list[Segment] = []
    for place in range(0, 500, 10):
        said += cutter.push(scores[place : place + 10], times[place : place + 10])
        assert len(cutter._held.times) <= 60
    said += cutter.pending(*no_scores())
    assert len(said) > 1 and {s.label for s in said} == {"a"}
    assert [s.end for s in said[:-1]] == [s.start for s in said[1:]]
    assert (said[0].start, said[-1].end) == (0, 250)


def test_options_that_need_the_whole_timeline_are_refused() -> None:
    for options in (TimelineConfig(viterbi=2.0), TimelineConfig(nms="soft")):
        with pytest.raises(UsageError, match="leave it out with --follow"):
            SegmentStream(("a",), False, options, "sliding")
