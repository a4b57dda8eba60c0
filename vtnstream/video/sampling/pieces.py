"""Split a file into parts for several decoders, and bound the frames that wait in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from vtnstream.video.probe import StreamFacts
from vtnstream.video.sampling.counting import FrameNumbers
from vtnstream.video.sampling.passes import ReadRequest
from vtnstream.video.sampling.samplers import TokenPoints, TokenRange

_USUAL_SECONDS = Fraction(60)
"""Usual length of a part; up to one group of pictures per part is decoded twice."""

_SHORTEST = 4
"""Ratio of the usual length to that of the shortest parts, at the start and end of a file."""

SHORTEST_PIECE = Fraction(10)
"""Seconds; with shorter parts, most of the file would be decoded twice."""

_SHORTEST_AT_KEYFRAME = Fraction(1)
"""Seconds; the shortest part if it begins right at a keyframe, where almost no frame is decoded
twice. Opening the file once more costs less than decoding this much."""

_MAX_FRAMES = 128
_MAX_BYTES = 16 << 20
"""Largest size of a part, whichever is more, but at least one chunk. A decoder may hold this much
in memory; 128 frames of 224 x 224 pixels are 18 MiB."""


def _most_chunks(chunk_size: int, frame_bytes: int) -> int:
    """Return the largest number of chunks per part."""
    return max(1, max(_MAX_FRAMES, _MAX_BYTES // max(1, frame_bytes)) // chunk_size)


def frames_waiting(chunk_size: int, decoders: int, frame_bytes: int) -> int:
    """Return the largest number of frames that wait in memory with this number of decoders."""
    piece = _most_chunks(chunk_size, frame_bytes)
    return chunk_size * piece * (decoders + 1) if decoders > 1 else 0


def is_worthwhile(request: ReadRequest, facts: StreamFacts, frame_bytes: int) -> bool:
    """Return whether parts would be long enough if every frame is a token, according to the frame
    rate in the header.

    This is checked before all packets are read to number the frames.
    """
    chunks = _shortest(_usual_chunks(request.chunk_size, facts.frame_seconds, frame_bytes))
    return chunks * request.chunk_size * facts.frame_seconds >= SHORTEST_PIECE


def _usual_chunks(size: int, spacing: Fraction, frame_bytes: int) -> int:
    """Return the chunks per part for tokens that are ``spacing`` seconds apart."""
    most = _most_chunks(size, frame_bytes)
    return min(most, max(1, round(_USUAL_SECONDS / (spacing * size)))) if spacing else most


def _shortest(chunks: int) -> int:
    """Return the chunks of the shortest part, for usual parts of ``chunks``."""
    return max(1, chunks // _SHORTEST)


@dataclass(slots=True)
class PiecePlan:
    """Splits a range of tokens into parts at multiples of the chunk size.

    Attributes:
        token_range: the range.
        points: times of its tokens.
        size: tokens per chunk.
        length: tokens of the shortest part.
        most: ratio of the longest to the shortest part.
        end: index after the last token according to the header. It only determines where the last
            part begins; that part extends to the end of the file.
        starts: tokens right after keyframes, increasing, where parts begin without decoding many
            frames twice; empty if unknown.
        only_at_starts: whether parts begin there only, because they are short.
        position: start of the next part, None if none is left.
    """

    token_range: TokenRange
    points: TokenPoints
    size: int
    length: int
    most: int
    end: int
    starts: Sequence[int]
    only_at_starts: bool
    position: int | None

    @classmethod
    def of(
        cls,
        request: ReadRequest,
        facts: StreamFacts,
        points: TokenPoints | None,
        frame_bytes: int,
        *,
        keyframes: Sequence[Fraction] = (),
        decoders: int = 1,
    ) -> PiecePlan | None:
        """Return the split of a request; None if it cannot be split or would have one part.

        Args:
            request: the request.
            facts: time properties of the stream.
            points: times of the tokens.
            frame_bytes: size of a returned frame.
            keyframes: player times of keyframes. If there are some, a short file is divided too.
            decoders: number of decoders.
        """
        header_end = facts.header_end or facts.container_end
        if points is None or header_end is None or not facts.seekable:
            return None
        first, stop, size = request.token_range.first, request.token_range.stop, request.chunk_size
        end = points.first_at(header_end)
        end = end if stop is None else min(end, stop)
        if end - first < 2 or not points.has(first):
            return None
        spacing = (points.time_of_token(end - 1) - points.time_of_token(first)) / (end - 1 - first)
        chunks = _usual_chunks(size, spacing, frame_bytes)
        shortest = _shortest(chunks)
        length, most = shortest * size, chunks // shortest
        starts = _starts(points, keyframes, size, first, end)
        short = length * spacing < SHORTEST_PIECE or end - first < 2 * length
        if short:
            if not keyframes or not starts:
                return None
            # Two parts for each decoder, so that none is idle for long at the end.
            share = (end - first) // (2 * decoders * size)
            least = ceil(_SHORTEST_AT_KEYFRAME / (spacing * size)) if spacing else share
            length, most = size * max(1, min(max(least, share), chunks)), 1
        return cls(request.token_range, points, size, length, most, end, starts, short, first)

    def shared(self, decoders: int) -> int:
        """Return the length of the next part as a multiple of the shortest, such that all decoders
        have work until the end."""
        assert self.position is not None
        share = (self.end - self.position) // (self.length * decoders)
        return max(1, min(self.most, share))

    def next(self, times: int) -> TokenRange:
        """Return the next part, at most ``times`` as long as the shortest."""
        first, cut = self.position, None
        assert first is not None
        if first + times * self.length <= self.end - self.length // 2:
            cut = self._cut(first, first + times * self.length)
        self.position = cut
        return TokenRange(first, self.token_range.stop if cut is None else cut)

    def _cut(self, first: int, target: int) -> int | None:
        """Return where a part from ``first`` ends: right after a keyframe in its second half, else
        at ``target``; after the next keyframe, or at the end, if parts begin there only."""
        place = bisect_right(self.starts, target)
        if place and self.starts[place - 1] - first >= (target - first) / 2:
            return self.starts[place - 1]
        if not self.only_at_starts:
            return target
        return self.starts[place] if place < len(self.starts) else None


def _starts(
    points: TokenPoints, keyframes: Sequence[Fraction], size: int, first: int, end: int
) -> list[int]:
    """Return the first positions of chunks after keyframes, between the tokens ``first`` and
    ``end``.

    The token before a position is read too, because it verifies the seek.
    """
    if isinstance(points, FrameNumbers):
        after = [int(number) for number in points.keyframes]
    else:
        after = [points.first_at(time) for time in keyframes]
    starts = {-(-(token + 1) // size) * size for token in after}
    return sorted(start for start in starts if first < start < end)
