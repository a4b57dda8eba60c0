"""Clips out of a stream of tokens.

Clips begin at the first token of each stretch of film without a gap, at every ``hop``-th after
it, and where the last one ends with the stretch: that one is shifted back, never padded,
unless the whole stretch is shorter than a clip (then its last frame stays).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vtnstream.encoding.clips import SampleShape
from vtnstream.localization.runs import TIME_TOLERANCE
from vtnstream.types import FrameChunk, TokenTimes


@dataclass(slots=True)
class ClipCutter:
    """Cuts clips out of tokens as they come, holding what a clip that has begun still needs.

    Attributes:
        shape: of the clips.
        low, high: token indices of the requested range, within which clips stay.
        stop: tokens from here on only complete clips that began before.
        before: the gap-free stretch of tokens that an earlier pass read up to the first one.
        has_passed_stop: tokens from ``stop`` on were there.
    """

    shape: SampleShape
    low: int
    high: int | None
    stop: int | None
    before: TokenTimes
    has_passed_stop: bool = False
    _run_first: int = 0
    _waiting: deque[FrameChunk] = field(default_factory=deque)

    def cut(self, chunks: Iterator[FrameChunk]) -> Iterator[FrameChunk]:
        """Chunks of tokens to chunks of the clips that begin in them."""
        if len(self.before):
            self._run_first = max(self.low, int(self.before.indices[0]))
        for chunk in chunks:
            self._waiting.append(chunk)
            while self._waiting and self._is_decided():
                yield from self._pop()
        while self._waiting:
            yield from self._pop()

    def _is_decided(self) -> bool:
        """What follows has been seen as far as a clip of the first waiting chunk can reach."""
        times = self._waiting[-1].times
        end = self._waiting[0].stop_index - 1 + self.shape.clip
        return len(times) > 0 and int(times.indices[-1]) >= end

    def _pop(self) -> Iterator[FrameChunk]:
        """The clips that begin in the first waiting chunk."""
        chunk = self._waiting[0]
        known = [self.before[-1:], *(waiting.times for waiting in self._waiting)]
        lengths = self._clip_lengths(TokenTimes.concatenate(known), len(known[0]), len(chunk.times))
        clips = [self._frames(row, length) for row, length in lengths.items()]
        self._waiting.popleft()
        if len(chunk.times):
            self.before = chunk.times[-1:]
        if self.stop is not None and chunk.first_index >= self.stop:
            self.has_passed_stop = True
            return
        _, height, width, _ = chunk.frames.shape
        nothing = np.empty((0, self.shape.clip * height, width, 3), np.uint8)
        frames = np.stack(clips) if clips else nothing
        yield replace(chunk, frames=frames, rows=np.array(list(lengths), np.int64))

    def _clip_lengths(self, times: TokenTimes, first: int, count: int) -> dict[int, int]:
        """Which of ``count`` tokens from number ``first`` on begin a clip, counted from it, and
        how many tokens there are for each."""
        size, hop = self.shape.clip, self.shape.hop
        inside = times.indices >= self.low
        if self.high is not None:
            inside &= times.indices < self.high
        cuts = np.append(gap_before(times) | np.diff(inside, prepend=inside[:1]), True)
        lengths: dict[int, int] = {}
        for number in range(first, first + count):
            if cuts[number]:
                self._run_first = int(times.indices[number])
            left = int(np.argmax(cuts[number + 1 :])) + 1  # tokens to the end of the stretch
            place = int(times.indices[number]) - self._run_first
            regular = left >= size and place % hop == 0
            if inside[number] and (regular or left == size or (place == 0 and left < size)):
                lengths[number - first] = min(left, size)
        return lengths

    def _frames(self, row: int, length: int) -> NDArray[np.uint8]:
        """One below the other, those of ``length`` tokens from a ``row`` of the first waiting
        chunk on; the last frame fills up what a clip is longer."""
        parts: list[NDArray[np.uint8]] = []
        for chunk in self._waiting:
            part = chunk.frames[row : row + length]  # (n, t * h, w, 3)
            parts += list(part)
            row, length = max(0, row - len(chunk.frames)), length - len(part)
        height = parts[0].shape[0] // self.shape.burst.frames
        missing = (self.shape.clip - len(parts)) * self.shape.burst.frames
        return np.concatenate([*parts, *[parts[-1][-height:]] * missing])


def gap_before(times: TokenTimes) -> NDArray[np.bool_]:
    """(T,) whether a gap lies before each token; the first has one."""
    holes = times.start_seconds[1:] - times.end_seconds[:-1] > TIME_TOLERANCE
    return np.append(True, (np.diff(times.indices) != 1) | holes)[: len(times)]
