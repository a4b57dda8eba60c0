"""Tokens of several frames, and clips of tokens, made of decoded chunks."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from vtnstream.config import SamplingConfig
from vtnstream.encoding.clip_cutting import ClipCutter, gap_before
from vtnstream.encoding.clips import InputShape, grouped
from vtnstream.errors import UsageError
from vtnstream.localization.runs import gap_free_runs
from vtnstream.scoring.clips import ClipLayout
from vtnstream.types import DecodeStats, FrameChunk, TokenTimes
from vtnstream.video.sampling.grid import Burst

HEIGHT, WIDTH = 3, 2


def times(indices: list[int], seconds: float = 1.0) -> TokenTimes:
    numbers = np.array(indices, np.int64)
    starts = numbers.astype(np.float64) * seconds
    return TokenTimes(numbers, numbers * 10, starts, starts + seconds)


def chunk(indices: list[int], first: int, stop: int) -> FrameChunk:
    """Make a chunk of frames that show their index."""
    values = np.array(indices, np.uint8)[:, None, None, None]
    frames = np.broadcast_to(values, (len(indices), HEIGHT, WIDTH, 3)).copy()
    return FrameChunk(frames, times(indices), first, stop, DecodeStats(num_corrupt=len(indices)))


def shown(frames: np.ndarray) -> list[list[int]]:
    """Return the frames that are stacked in each image."""
    assert (frames == frames[:, :, :1, :1]).all()
    return [picture[::HEIGHT, 0, 0].tolist() for picture in frames]


# --------------------------------------------------------------------------------- tokens


def test_frames_are_grouped_to_tokens() -> None:
    found = grouped(chunk(list(range(12, 20)), 12, 20), 4)
    assert shown(found.frames) == [[12, 13, 14, 15], [16, 17, 18, 19]]
    assert found.times.indices.tolist() == [3, 4]
    assert found.times.pts.tolist() == [150, 190], "a seek is checked against the last frame"
    assert found.times.start_seconds.tolist() == [12, 16]
    assert found.times.end_seconds.tolist() == [16, 20]
    assert (found.first_index, found.stop_index, found.rows) == (3, 5, None)
    assert found.stats.num_corrupt == 8


def test_missing_frames_are_the_one_before_and_no_token_begins_with_one() -> None:
    found = grouped(chunk([0, 1, 3, 5, 6, 8, 12], 0, 16), 4)
    assert found.times.indices.tolist() == [0, 2, 3]
    assert shown(found.frames) == [[0, 1, 1, 3], [8, 8, 8, 8], [12, 12, 12, 12]]
    assert found.times.end_seconds.tolist() == [4, 9, 13], "nothing is claimed of the gap"
    nothing = grouped(chunk([5, 6], 4, 8), 4)
    assert len(nothing.times) == 0 and nothing.frames.shape == (0, 4 * HEIGHT, WIDTH, 3)


def test_rates_at_which_tokens_would_overlap_are_refused() -> None:
    shape = InputShape(Burst(3, Fraction(1, 10)))
    shape.check(SamplingConfig(fps=Fraction(49, 10)))
    shape.check(SamplingConfig("all"))
    with pytest.raises(UsageError, match=r"5 samples/s are too many.*3 frames 0\.1 s.*than 5"):
        shape.check(SamplingConfig(fps=Fraction(5)))


# ---------------------------------------------------------------------------------- clips


def token_chunks(indices: list[int], size: int, burst: int) -> Iterator[FrameChunk]:
    """Make tokens of ``burst`` frames in chunks divided on the grid; empty chunks are left out."""
    for first in range(0, max(indices) + 1, size):
        own = [i for i in indices if first <= i < first + size]
        if own:
            numbers = [i * burst + j for i in own for j in range(burst)]
            frames = chunk(numbers, first * burst, (first + size) * burst)
            yield grouped(frames, burst)


def cut(
    indices: list[int],
    shape: InputShape,
    *,
    size: int = 4,
    low: int = 0,
    high: int | None = None,
    first: int = 0,
    stop: int | None = None,
) -> tuple[dict[int, list[int]], list[FrameChunk], ClipCutter]:
    """Return the frames of each clip by its first token, the chunks, and the cutter."""
    burst = shape.burst.frames
    chunks = [c for c in token_chunks(indices, size, burst) if c.first_index >= first]
    if stop is not None:
        chunks = [c for c in chunks if c.first_index < stop + shape.clip]
    earlier = times([i for i in indices if i < first], float(burst))
    before = earlier[gap_free_runs(earlier)[-1]] if len(earlier) else earlier
    cutter = ClipCutter(shape, low, high, stop, before)
    out = list(cutter.cut(iter(chunks)))
    clips = {}
    for part in out:
        assert part.rows is not None
        for row, frames in zip(part.rows, shown(part.frames), strict=True):
            clips[int(part.times.indices[row])] = frames
    return clips, out, cutter


def shape(clip: int, hop: int, burst: int = 2) -> InputShape:
    return InputShape(Burst(burst, Fraction(1, 10)), clip, hop, "joint")


def expected(indices: list[int], clip: int, hop: int, burst: int = 2) -> dict[int, list[int]]:
    """Return the clips by the layout that reads the scores."""
    layout, clips = ClipLayout(clip, hop), {}
    for stretch in layout.spans(times(indices)):
        for span in stretch:
            frames = [i * burst + j for i in indices[span.first : span.stop] for j in range(burst)]
            clips[indices[span.first]] = frames + frames[-1:] * (clip * burst - len(frames))
    return clips


@pytest.mark.parametrize("size", [1, 3, 4, 50])
@pytest.mark.parametrize(
    "indices",
    [
        list(range(17)),
        list(range(16)),
        list(range(3, 12)),
        list(range(3)),
        [0],
        [*range(9), *range(11, 30), *range(40, 43), 60, *range(62, 67)],
    ],
)
@pytest.mark.parametrize(("clip", "hop"), [(4, 2), (5, 5), (8, 3), (1, 1)])
def test_clips_are_where_their_scores_are_read(
    indices: list[int], clip: int, hop: int, size: int
) -> None:
    clips, chunks, _ = cut(indices, shape(clip, hop), size=size)
    assert clips == expected(indices, clip, hop)
    found = TokenTimes.concatenate([c.times for c in chunks])
    assert found.indices.tolist() == indices
    assert sum(c.stats.num_corrupt for c in chunks) == 2 * len(indices)
    for part in chunks:
        spread = part.spread(np.ones((len(part.frames), 3), np.float32))
        assert part.rows is not None
        assert np.flatnonzero(spread[:, 0]).tolist() == part.rows.tolist()


def test_every_token_lies_in_a_clip_and_the_last_is_shifted_back() -> None:
    clips, _, _ = cut(list(range(11)), shape(4, 4))
    assert list(clips) == [0, 4, 7]
    assert clips[7] == list(range(14, 22))
    short, _, _ = cut([5, 6], shape(4, 2))
    assert short == {5: [10, 11, 12, 13, 13, 13, 13, 13]}, "its last frame stays"


def test_clips_stay_within_the_range() -> None:
    indices = list(range(30))
    clips, _, _ = cut(indices, shape(4, 2), low=5, high=14)
    assert clips == expected(list(range(5, 14)), 4, 2)


@pytest.mark.parametrize("first", [4, 8, 20])
@pytest.mark.parametrize("stop", [24, 28, None])
@pytest.mark.parametrize("gap", [(), (9, 10), (23,)])
def test_a_resumed_pass_cuts_the_same_clips(
    first: int, stop: int | None, gap: tuple[int, ...]
) -> None:
    indices = [i for i in range(2, 41) if i not in gap]
    whole, chunks, _ = cut(indices, shape(6, 3))
    part, resumed, cutter = cut(indices, shape(6, 3), first=first, stop=stop)
    last = stop or 99
    assert part == {i: frames for i, frames in whole.items() if first <= i < last}
    assert [c.first_index for c in resumed] == [
        c.first_index for c in chunks if first <= c.first_index < last
    ]
    assert cutter.has_passed_stop == (stop is not None)


def test_gaps_are_those_of_the_timeline() -> None:
    some = times([0, 1, 2, 5, 6, 7])
    holed = TokenTimes(some.indices, some.pts, some.start_seconds, some.end_seconds.copy())
    holed.end_seconds[4] -= 0.5
    for one in (some, holed):
        starts = np.flatnonzero(gap_before(one)).tolist()
        assert starts == [run.start for run in gap_free_runs(one)]
    assert len(gap_before(TokenTimes.empty())) == 0
