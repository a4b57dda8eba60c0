"""Cut a stream of tokens into overlapping clips for models that encode clips.

A clip begins at the first token of each gap-free stretch, at every ``hop``-th token after it,
and so that the last clip ends with the stretch: the last clip is shifted back, never padded.
Only a stretch shorter than a clip is padded, with its last frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vtnstream.encoding.clips import InputShape
from vtnstream.localization.runs import TIME_TOLERANCE
from vtnstream.types import FrameChunk, TokenTimes


@dataclass(slots=True)
class ClipCutter:
    """Cut clips out of tokens as they arrive; hold only the tokens that an open clip still needs.

    Attributes:
        shape: the shape of a clip.
        low, high: token indices of the requested range; clips stay within it.
        stop: tokens from this index on only complete clips that began before it.
        before: the gap-free tokens that an earlier pass read up to the first token here.
        has_passed_stop: whether tokens from ``stop`` on have arrived.
    """

    shape: InputShape
    low: int
    high: int | None
    stop: int | None
    before: TokenTimes
    has_passed_stop: bool = False
    _run_first: int = 0
    _waiting: deque[FrameChunk] = field(default_factory=deque)

    def cut(self, chunks: Iterator[FrameChunk]) -> Iterator[FrameChunk]:
        """Turn chunks of tokens into chunks of the clips that begin in them."""
        if len(self.before):
            self._run_first = max(self.low, int(self.before.indices[0]))
        for chunk in chunks:
            self._waiting.append(chunk)
            while self._waiting and self._is_decided():
                yield from self._pop()
        while self._waiting:
            yield from self._pop()

    def _is_decided(self) -> bool:
        """Return whether all tokens that clips of the first waiting chunk need have arrived."""
        times = self._waiting[-1].times
        end = self._waiting[0].stop_index - 1 + self.shape.clip
        return len(times) > 0 and int(times.indices[-1]) >= end

    def _pop(self) -> Iterator[FrameChunk]:
        """Remove the first waiting chunk and return the clips that begin in it."""
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
        """Return the offsets at which clips begin among ``count`` tokens from index ``first``,
        and the number of tokens available for each clip."""
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
        """Stack the frames of ``length`` tokens, starting at ``row`` of the first waiting chunk,
        below each other; repeat the last frame where the clip is longer."""
        parts: list[NDArray[np.uint8]] = []
        for chunk in self._waiting:
            part = chunk.frames[row : row + length]  # (n, t * h, w, 3)
            parts += list(part)
            row, length = max(0, row - len(chunk.frames)), length - len(part)
        height = parts[0].shape[0] // self.shape.burst.frames
        missing = (self.shape.clip - len(parts)) * self.shape.burst.frames
        return np.concatenate([*parts, *[parts[-1][-height:]] * missing])


def gap_before(times: TokenTimes) -> NDArray[np.bool_]:
    """Return (T,) bool: whether a gap precedes each token. The first token counts as preceded."""
    holes = times.start_seconds[1:] - times.end_seconds[:-1] > TIME_TOLERANCE
    return np.append(True, (np.diff(times.indices) != 1) | holes)[: len(times)]
