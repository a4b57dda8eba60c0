"""Split a file into parts for several decoders, and bound the frames that wait in memory."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

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
        position: start of the next part, None if none is left.
    """

    token_range: TokenRange
    points: TokenPoints
    size: int
    length: int
    most: int
    end: int
    position: int | None

    @classmethod
    def of(
        cls, request: ReadRequest, facts: StreamFacts, points: TokenPoints | None, frame_bytes: int
    ) -> PiecePlan | None:
        """Return the split of a request; None if it cannot be split or would have one part."""
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
        length = shortest * size
        if length * spacing < SHORTEST_PIECE or end - first < 2 * length:
            return None
        return cls(request.token_range, points, size, length, chunks // shortest, end, first)

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
            cut = self._behind_keyframe(first, first + times * self.length)
        self.position = cut
        return TokenRange(first, self.token_range.stop if cut is None else cut)

    def _behind_keyframe(self, first: int, cut: int) -> int:
        """Return a position at or before ``cut``, in the second half of the part, right after a
        keyframe, so that the next part decodes few unneeded frames; ``cut`` if there is none."""
        if not isinstance(self.points, FrameNumbers):
            return cut
        keyframe = self.points.last_keyframe(cut - 1)
        # The token before the cut is read too, because it verifies the seek.
        behind = -(-(keyframe + 1) // self.size) * self.size
        return behind if behind - first >= (cut - first) / 2 else cut
