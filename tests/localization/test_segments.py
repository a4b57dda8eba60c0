from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest

from tests.localization.cases import random_timeline, token_times
from vtnstream.config import TimelineConfig
from vtnstream.errors import ConfigError
from vtnstream.localization.runs import gap_free_runs
from vtnstream.localization.segments import to_segments
from vtnstream.types import ScoreTimeline, Segment, TokenTimes

SINGLE = [
    {},
    {"viterbi": 1.5},
    {"onset": 0.6, "offset": 0.3},
    {"threshold": 0.5},
    {"smoothing": "median"},
    {"smoothing": "gaussian", "viterbi": 0.5},
    {"min_duration": 1.0},
    {"merge_gap": 1.0},
    {"min_duration": 1.5, "merge_gap": 1.0, "viterbi": 0.2},
]
MULTI = [
    {},
    {"threshold": 0.3},
    {"onset": 0.7, "offset": 0.4},
    {"viterbi": 1.0},
    {"min_duration": 0.7, "merge_gap": 0.5},
    {"nms": "hard"},
    {"nms": "soft", "nms_threshold": 0.3},
]


def _spans(segments: tuple[Segment, ...]) -> list[tuple[float, float, str]]:
    return [(s.start, s.end, s.label) for s in segments]


def _timeline(
    rows: list[list[float]],
    *,
    labels: str = "ab",
    durations: list[float] | None = None,
    holes: dict[int, float] | None = None,
    multi_label: bool = False,
) -> ScoreTimeline:
    times = token_times(durations or [1.0] * len(rows), holes=holes)
    return ScoreTimeline(np.array(rows, np.float32), times, tuple(labels), multi_label)


def _letters(text: str, labels: str = "ab", score: float = 0.9) -> ScoreTimeline:
    """Return a timeline with one token of a second per letter, whose label has ``score``."""
    rest = (1 - score) / (len(labels) - 1)
    return _timeline([[score if c == k else rest for k in labels] for c in text], labels=labels)


# --------------------------------------------------------------------------- properties


def _check_always(timeline: ScoreTimeline, segments: tuple[Segment, ...]) -> None:
    edges = set(timeline.times.start_seconds) | set(timeline.times.end_seconds)
    runs = gap_free_runs(timeline.times)
    assert list(segments) == sorted(segments, key=lambda s: (s.start, s.end, s.label))
    for segment in segments:
        assert segment.end > segment.start
        assert {segment.start, segment.end} <= edges
        assert 0 <= segment.score <= 1
        assert segment.track == timeline.track
        assert any(
            timeline.times.start_seconds[r.start] <= segment.start
            and segment.end <= timeline.times.end_seconds[r.stop - 1]
            for r in runs
        ), "a segment crosses a gap"


@pytest.mark.parametrize("options", SINGLE)
def test_single_label_segments_are_sorted_disjoint_and_cross_no_gap(options: dict) -> None:
    for seed in range(60):
        timeline = random_timeline(seed)
        segments = to_segments(timeline, TimelineConfig(background=seed % 2 == 0, **options))
        _check_always(timeline, segments)
        for a, b in itertools.pairwise(segments):
            assert a.end <= b.start
            inside = timeline.times.start_seconds
            meet = a.end == b.start
            assert not (meet and a.label == b.label), "equal neighbours were not joined"
            assert meet or b.start in inside
        least = options.get("min_duration", 0)
        assert all(s.end - s.start >= least - 1e-6 for s in segments)
        if seed % 2:
            assert "background" not in {s.label for s in segments}


@pytest.mark.parametrize(
    "options", [o for o in SINGLE if not {"threshold", "onset", "min_duration"} & o.keys()]
)
def test_single_label_segments_cover_every_token(options: dict) -> None:
    for seed in range(60):
        timeline = random_timeline(seed, background=seed % 2 == 0)
        segments = to_segments(timeline, TimelineConfig(background=True, **options))
        covered = sum(s.end - s.start for s in segments)
        times = timeline.times
        assert covered == pytest.approx(float((times.end_seconds - times.start_seconds).sum()))
        for start, end in zip(times.start_seconds, times.end_seconds, strict=True):
            assert sum(s.start <= start and end <= s.end for s in segments) == 1


@pytest.mark.parametrize("options", SINGLE[:4] + SINGLE[6:])
def test_scores_are_means_of_the_tokens_probabilities(options: dict) -> None:
    for seed in range(30):
        timeline = random_timeline(seed)
        times = timeline.times
        for s in to_segments(timeline, TimelineConfig(background=True, **options)):
            tokens = (times.start_seconds >= s.start) & (times.end_seconds <= s.end)
            mean = timeline.scores[tokens, timeline.labels.index(s.label)].mean(dtype=float)
            assert s.score == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize("options", MULTI)
def test_multi_label_segments(options: dict) -> None:
    for seed in range(60):
        timeline = random_timeline(seed, multi_label=True)
        config = TimelineConfig(background=seed % 2 == 0, **options)
        segments = to_segments(timeline, config)
        _check_always(timeline, segments)
        for label in timeline.labels:
            mine = [s for s in segments if s.label == label]
            assert len(set(mine)) == len(mine)
            if "nms" not in options:
                for a, b in itertools.pairwise(mine):
                    assert a.end < b.start
            assert all(s.end - s.start >= config.min_duration - 1e-6 for s in mine)


def test_argmax_chooses_each_token() -> None:
    for seed in range(30):
        timeline = random_timeline(seed)
        times = timeline.times
        segments = to_segments(timeline, TimelineConfig(background=True))
        for i, label in enumerate(timeline.scores.argmax(1)):
            middle = (times.start_seconds[i] + times.end_seconds[i]) / 2
            (here,) = [s for s in segments if s.start <= middle < s.end]
            assert here.label == timeline.labels[label]


# ------------------------------------------------------------------ times and gaps


def test_times_equal_those_of_tokens_and_boundaries_are_shared() -> None:
    timeline = _timeline([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]], durations=[1 / 3, 0.1, 7.7])
    first, second = to_segments(timeline, TimelineConfig())
    assert first.start == 0 and first.end == second.start == timeline.times.start_seconds[2]
    assert second.end == timeline.times.end_seconds[2]
    assert (first.score, second.score) == (pytest.approx(0.85), pytest.approx(0.7))


def test_a_missing_index_or_a_hole_in_time_is_a_gap() -> None:
    whole, seconds = np.array([0, 1, 3, 4]), np.arange(4.0)
    jump = TokenTimes(whole, whole.copy(), seconds, seconds + 1)
    assert gap_free_runs(jump) == [slice(0, 2), slice(2, 4)]
    ends = np.array([1.0, 2.0, 2.5, 4.0])
    whole = np.arange(4)
    hole = TokenTimes(whole, whole.copy(), seconds, ends)
    assert gap_free_runs(hole) == [slice(0, 3), slice(3, 4)]
    rounding = TokenTimes(whole, whole.copy(), seconds, seconds + 1 - 1e-9)
    assert gap_free_runs(rounding) == [slice(0, 4)]
    assert gap_free_runs(TokenTimes.empty()) == []
    scores = np.tile(np.array([[0.9, 0.1]], np.float32), (4, 1))
    segments = to_segments(ScoreTimeline(scores, hole, ("a", "b")), TimelineConfig(merge_gap=60))
    assert _spans(segments) == [(0, 2.5, "a"), (3, 4, "a")]


def test_tokens_without_length_make_no_segment() -> None:
    timeline = _timeline([[0.9, 0.1], [0.1, 0.9], [0.9, 0.1]], durations=[1.0, 0.0, 1.0])
    assert _spans(to_segments(timeline, TimelineConfig())) == [(0, 2, "a")]
    alone = _timeline([[0.9, 0.1]], durations=[0.0])
    assert to_segments(alone, TimelineConfig()) == ()


def test_no_tokens_and_no_labels() -> None:
    empty = ScoreTimeline(np.empty((0, 2), np.float32), TokenTimes.empty(), ("a", "b"))
    assert to_segments(empty, TimelineConfig(smoothing="median", viterbi=1.0)) == ()
    none = ScoreTimeline(np.empty((3, 0), np.float32), token_times([1.0] * 3), ())
    assert to_segments(none, TimelineConfig()) == ()


# --------------------------------------------------------------- rules of the options


def test_background_is_dropped_unless_requested() -> None:
    timeline = ScoreTimeline(
        np.array([[0.9, 0.1], [0.2, 0.8]], np.float32),
        token_times([1.0, 1.0]),
        ("background", "fight"),
    )
    assert _spans(to_segments(timeline, TimelineConfig())) == [(1, 2, "fight")]
    kept = to_segments(timeline, TimelineConfig(background=True))
    assert _spans(kept) == [(0, 1, "background"), (1, 2, "fight")]


def test_hysteresis_of_single_labels() -> None:
    a = [0.2, 0.6, 0.45, 0.35, 0.2, 0.5, 0.55, 0.4, 0.1]
    rows = [[x, 0.25, 0.75 - x] if x < 0.7 else [x, 0, 1 - x] for x in a]
    # starts at .6 (token 1), goes on over .45 and .35, ends at .2; .55 starts again though
    # .5 did not; at the end c reaches .65 and takes over.
    got = to_segments(_timeline(rows, labels="abc"), TimelineConfig(onset=0.55, offset=0.3))
    assert _spans(got) == [(0, 1, "c"), (1, 4, "a"), (4, 5, "c"), (6, 8, "a"), (8, 9, "c")]


def test_a_label_replaces_another_only_at_its_onset() -> None:
    rows = [[0.7, 0.3], [0.45, 0.55], [0.35, 0.65], [0.5, 0.5]]
    options = TimelineConfig(onset=0.6, offset=0.3)
    assert _spans(to_segments(_timeline(rows), options)) == [(0, 2, "a"), (2, 4, "b")]


def test_onset_alone_and_threshold_as_offset() -> None:
    rows = [[0.7, 0.3], [0.55, 0.45], [0.7, 0.3]]
    alone = to_segments(_timeline(rows), TimelineConfig(onset=0.6))
    assert _spans(alone) == [(0, 1, "a"), (2, 3, "a")]
    both = to_segments(_timeline(rows), TimelineConfig(onset=0.6, threshold=0.5))
    assert _spans(both) == [(0, 3, "a")]


def test_threshold_hides_uncertain_tokens() -> None:
    rows = [[0.9, 0.1], [0.55, 0.45], [0.1, 0.9]]
    got = to_segments(_timeline(rows), TimelineConfig(threshold=0.6, background=True))
    assert _spans(got) == [(0, 1, "a"), (2, 3, "b")]


def test_viterbi_removes_flicker() -> None:
    timeline = _letters("aabaaabbbb", score=0.7)
    got = to_segments(timeline, TimelineConfig(viterbi=1.0))
    assert _spans(got) == [(0, 6, "a"), (6, 10, "b")]


def test_short_segments_merge_into_the_neighbour_with_the_higher_score() -> None:
    rows = [[0.7, 0.2, 0.1]] * 3 + [[0.1, 0.8, 0.1]] + [[0.1, 0.0, 0.9]] * 3
    got = to_segments(_timeline(rows, labels="abc"), TimelineConfig(min_duration=2))
    assert _spans(got) == [(0, 3, "a"), (3, 7, "c")]
    assert got[1].score == pytest.approx((3 * 0.9 + 0.1) / 4)


def test_short_segments_merge_into_the_earlier_of_equal_neighbours() -> None:
    got = to_segments(_letters("aaabccc", "abc"), TimelineConfig(min_duration=2))
    assert _spans(got) == [(0, 4, "a"), (4, 7, "c")]


def test_the_shortest_segment_merges_first_and_equal_labels_join() -> None:
    # c (1 s) is merged into b, the earlier of equal neighbours, which is then long enough.
    got = to_segments(_letters("aaaabbcaaaa", "abc"), TimelineConfig(min_duration=3))
    assert _spans(got) == [(0, 4, "a"), (4, 7, "b"), (7, 11, "a")]
    flicker = to_segments(_letters("aaabaaa"), TimelineConfig(min_duration=2))
    assert _spans(flicker) == [(0, 7, "a")]


def test_a_run_shorter_than_the_minimum_has_no_segment() -> None:
    timeline = _timeline([[0.9, 0.1]] * 4, holes={3: 5.0})
    assert _spans(to_segments(timeline, TimelineConfig(min_duration=2))) == [(0, 3, "a")]


def test_minimum_duration_tolerates_rounding_errors() -> None:
    timeline = _timeline([[0.9, 0.1]] * 3 + [[0.1, 0.9]] * 3, durations=[0.1] * 6)
    assert timeline.times.start_seconds[3] != 0.3  # 0.1 + 0.1 + 0.1
    assert len(to_segments(timeline, TimelineConfig(min_duration=0.3))) == 2


def test_merge_gap_joins_equal_labels_but_never_background() -> None:
    got = to_segments(_letters("aaaabaaaa"), TimelineConfig(merge_gap=1))
    assert _spans(got) == [(0, 9, "a")]
    assert got[0].score == pytest.approx((8 * 0.9 + 0.1) / 9)
    assert len(to_segments(_letters("aaaabbaaaa"), TimelineConfig(merge_gap=1))) == 3
    timeline = _letters("nnnnannnn", "na")
    timeline = ScoreTimeline(timeline.scores, timeline.times, ("background", "a"))
    assert _spans(to_segments(timeline, TimelineConfig(merge_gap=5))) == [(4, 5, "a")]


def test_segments_are_joined_before_short_ones_are_dropped() -> None:
    timeline = _letters("nnnnananannnn", "na")
    timeline = ScoreTimeline(timeline.scores, timeline.times, ("background", "a"))
    got = to_segments(timeline, TimelineConfig(min_duration=4, merge_gap=1))
    assert _spans(got) == [(4, 9, "a")]


def test_alternating_labels_join_from_the_start() -> None:
    got = to_segments(_letters("abababab"), TimelineConfig(merge_gap=1))
    assert _spans(got) == [(0, 7, "a"), (7, 8, "b")]


def test_multi_label_hysteresis_and_overlap() -> None:
    rows = [[0.2, 0.9], [0.7, 0.9], [0.5, 0.9], [0.45, 0.1], [0.3, 0.1], [0.5, 0.1]]
    timeline = _timeline(rows, multi_label=True)
    got = to_segments(timeline, TimelineConfig(onset=0.6, offset=0.4))
    assert _spans(got) == [(0, 3, "b"), (1, 4, "a")]
    assert _spans(to_segments(timeline, TimelineConfig())) == [  # threshold .5
        (0, 3, "b"),
        (1, 3, "a"),
        (5, 6, "a"),
    ]


def test_suppression_keeps_the_best_extent_of_multi_label_segments() -> None:
    ramp = [0.55, 0.55, 0.9, 0.9, 0.9, 0.9, 0.55, 0.1, 0.9]
    timeline = _timeline([[p] for p in ramp], labels="a", multi_label=True)
    plain = to_segments(timeline, TimelineConfig())
    assert _spans(plain) == [(0, 7, "a"), (8, 9, "a")]
    # tIoU of (0, 7) and (2, 6) is 4/7: above .5 the better one alone is left.
    hard = to_segments(timeline, TimelineConfig(nms="hard"))
    assert _spans(hard) == [(2, 6, "a"), (8, 9, "a")]
    loose = to_segments(timeline, TimelineConfig(nms="hard", nms_threshold=0.6))
    assert _spans(loose) == [(0, 7, "a"), (2, 6, "a"), (8, 9, "a")]
    # soft: the mean of (0, 7), .75, falls to .75 * 3/7 = .32: stays at .3, goes at .5.
    soft = to_segments(timeline, TimelineConfig(nms="soft", threshold=0.3))
    assert _spans(soft) == [(0, 7, "a"), (2, 6, "a"), (8, 9, "a")]
    assert soft[0].score == pytest.approx(np.mean(ramp[:7]) * 3 / 7)
    assert len(to_segments(timeline, TimelineConfig(nms="soft"))) == 2


def test_conflicting_labelling_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="give one"):
        TimelineConfig(viterbi=1.0, onset=0.5)


@pytest.mark.parametrize("multi_label", [False, True])
def test_memory_stays_within_three_times_the_scores(multi_label: bool) -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((20_000, 100), dtype=np.float32) ** 8
    scores /= scores.sum(1, keepdims=True)
    timeline = ScoreTimeline(
        scores,
        token_times([0.5] * 20_000),
        tuple(f"label {i}" for i in range(100)),
        multi_label,
    )
    options = TimelineConfig(
        smoothing="median", smoothing_size=31, viterbi=3.0, min_duration=2, merge_gap=1
    )
    tracemalloc.start()
    to_segments(timeline, options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * scores.nbytes  # beside the input
