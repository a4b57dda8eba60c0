"""Where a film is cut for several decoders, and how much of it may wait in memory."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from vtnstream.video.probe import StreamFacts
from vtnstream.video.sampling.counting import FrameNumbers
from vtnstream.video.sampling.passes import ReadRequest
from vtnstream.video.sampling.samplers import Points, Wanted

_USUAL_SECONDS = Fraction(60)
"""Length of a piece; each may decode up to a group of pictures twice."""

_SHORTEST = 4
"""Of the first piece, and of those at the end of a file, so many make a usual one."""

_MIN_SECONDS = Fraction(10)
"""Shorter pieces would decode most of the file twice."""

_MAX_FRAMES = 128
_MAX_BYTES = 16 << 20
"""Of a piece, whichever is more, and one chunk at least: what may wait for its turn, times the
decoders. Of pictures of 224 pixels, 128 are 18 MiB."""


def _most_chunks(chunk_size: int, frame_bytes: int) -> int:
    """Of one piece."""
    return max(1, max(_MAX_FRAMES, _MAX_BYTES // max(1, frame_bytes)) // chunk_size)


def frames_waiting(chunk_size: int, decoders: int, frame_bytes: int) -> int:
    """Most frames that up to so many decoders have ready, in chunks of a size."""
    piece = _most_chunks(chunk_size, frame_bytes)
    return chunk_size * piece * (decoders + 1) if decoders > 1 else 0


def is_worthwhile(request: ReadRequest, facts: StreamFacts, frame_bytes: int) -> bool:
    """Whether pieces could be long enough where every frame is a token, by the header's rate:
    asked before all packets of a film are read to number them."""
    chunks = _shortest(_usual_chunks(request.chunk_size, facts.frame_seconds, frame_bytes))
    return chunks * request.chunk_size * facts.frame_seconds >= _MIN_SECONDS


def _usual_chunks(size: int, spacing: Fraction, frame_bytes: int) -> int:
    """Of one piece, with tokens so many seconds apart."""
    most = _most_chunks(size, frame_bytes)
    return min(most, max(1, round(_USUAL_SECONDS / (spacing * size)))) if spacing else most


def _shortest(chunks: int) -> int:
    """Of the shortest piece, where a usual one has so many."""
    return max(1, chunks // _SHORTEST)


@dataclass(slots=True)
class Cutting:
    """Cuts the part that is wanted into pieces, at multiples of the chunk size.

    Attributes:
        wanted: the part.
        points: where its tokens lie.
        size: of a chunk, in tokens.
        length: of the shortest piece, in tokens.
        most: so many times longer is the longest that is read beside others.
        end: the token after the last by the header, whose word only says where a last piece
            begins: it goes on to the end of the file.
        position: where the next piece begins, None when none is left.
    """

    wanted: Wanted
    points: Points
    size: int
    length: int
    most: int
    end: int
    position: int | None

    @classmethod
    def of(
        cls, request: ReadRequest, facts: StreamFacts, points: Points | None, frame_bytes: int
    ) -> Cutting | None:
        """None where it is not known how, or there would be one piece."""
        header_end = facts.header_end or facts.container_end
        if points is None or header_end is None or not facts.seekable:
            return None
        first, stop, size = request.wanted.first, request.wanted.stop, request.chunk_size
        end = points.first_due(header_end)
        end = end if stop is None else min(end, stop)
        if end - first < 2 or not points.has(first):
            return None
        spacing = (points.due(end - 1) - points.due(first)) / (end - 1 - first)
        chunks = _usual_chunks(size, spacing, frame_bytes)
        shortest = _shortest(chunks)
        length = shortest * size
        if length * spacing < _MIN_SECONDS or end - first < 2 * length:
            return None
        return cls(request.wanted, points, size, length, chunks // shortest, end, first)

    def shared(self, decoders: int) -> int:
        """How many times longer than the shortest the next piece is, so that all decoders have
        work to the end."""
        assert self.position is not None
        share = (self.end - self.position) // (self.length * decoders)
        return max(1, min(self.most, share))

    def next(self, times: int) -> Wanted:
        """The next piece, at most so many times as long as the shortest."""
        first, cut = self.position, None
        assert first is not None
        if first + times * self.length <= self.end - self.length // 2:
            cut = self._behind_keyframe(first, first + times * self.length)
        self.position = cut
        return Wanted(first, self.wanted.stop if cut is None else cut)

    def _behind_keyframe(self, first: int, cut: int) -> int:
        """A cut at or before ``cut``, and in the second half of the piece, so that the piece
        after it begins with hardly a picture that nobody sees; ``cut`` where there is none."""
        if not isinstance(self.points, FrameNumbers):
            return cut
        keyframe = self.points.last_keyframe(cut - 1)
        # The token before the cut is read, too: it is what proves the seek.
        behind = -(-(keyframe + 1) // self.size) * self.size
        return behind if behind - first >= (cut - first) / 2 else cut
