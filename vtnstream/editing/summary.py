"""Choose the parts of a video that a summary keeps.

The video is cut into pieces along the segments of its timeline. The value of a piece is its
share of the attention of [CLS], weighted by the score of its segment and reduced by its
similarity to the rest of the video. The set of pieces with the highest total value within the
requested length is found exactly, as a knapsack problem on a grid of tenths of a second.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vtnstream.config.summary import SummaryConfig
from vtnstream.types import FeatureSequence, FloatArray, Segment, TokenTimes

_GRID = 10
"""Number of grid steps per second in which lengths are counted."""
_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a video that may be kept.

    Attributes:
        start, end: seconds of the source.
        label: label of its segment; "" between segments.
        attention: share of the attention of [CLS] over the video, 0 to 1.
        score: score of its segment; 0 between segments.
        novelty: (1 - mean cosine similarity to the other pieces) / 2, from 0 to 1.
    """

    start: float
    end: float
    label: str
    attention: float
    score: float
    novelty: float = 1.0

    def worth(self, diversity: float) -> float:
        """Return the value of the piece: attention, weighted by score and novelty.

        Args:
            diversity: weight of the novelty, 0 to 1.
        """
        return self.attention * (0.5 + 0.5 * self.score) * (1 - diversity * (1 - self.novelty))


def pieces_of(
    features: FeatureSequence,
    attention: FloatArray,
    segments: Sequence[Segment],
    span: tuple[float, float],
    config: SummaryConfig,
    left_out: Collection[str] = (),
) -> list[Piece]:
    """Cut a video into pieces along its segments; the parts between segments become pieces as well.

    Args:
        features: N tokens, whose mean features measure the similarity of pieces.
        attention: (N,) weights of [CLS].
        segments: segments of the timeline, in any order; may be empty.
        span: start and end, in seconds, of the part that is cut.
        config: lengths of pieces.
        left_out: labels whose segments are left out, such as black.

    Returns:
        Pieces in order of time, none shorter than ``config.shortest``.
    """
    times = features.times
    borders = _borders(segments, span)
    cut = [
        (a, b, label, score)
        for start, end, label, score in borders
        for a, b in _even_parts(start, end, config.piece)
        if b - a >= config.shortest and label not in left_out
    ]
    if not cut:
        return []
    means = _mean_features(features, [(a, b) for a, b, _, _ in cut])
    novelty = _novelty(means)
    shares = attention / max(float(attention.sum()), 1e-30)
    found = []
    for (start, end, label, score), new in zip(cut, novelty.tolist(), strict=True):
        first, stop = _tokens(times, start, end)
        found.append(Piece(start, end, label, float(shares[first:stop].sum()), score, new))
    return found


def choose(pieces: Sequence[Piece], config: SummaryConfig) -> list[Piece]:
    """Return the pieces with the highest total value within ``config.length``, in order of time."""
    room = round(config.length * _GRID)
    lengths = [max(int(np.ceil((p.end - p.start) * _GRID - 1e-6)), 1) for p in pieces]
    best = np.zeros(room + 1)
    taken = np.zeros((len(pieces), room + 1), bool)
    for number, (piece, length) in enumerate(zip(pieces, lengths, strict=True)):
        if length > room:
            continue
        with_it = best[: room + 1 - length] + piece.worth(config.diversity)
        better = with_it > best[length:]
        taken[number, length:] = better
        best[length:] = np.where(better, with_it, best[length:])
    chosen: list[Piece] = []
    left = room
    for number in range(len(pieces) - 1, -1, -1):
        if taken[number, left]:
            chosen.append(pieces[number])
            left -= lengths[number]
    return chosen[::-1]


def filled(pieces: Sequence[Piece], chosen: Sequence[Piece], config: SummaryConfig) -> list[Piece]:
    """Fill the rest of the summary's length with the beginnings of the most valuable other pieces.

    Args:
        pieces: all pieces.
        chosen: the result of :func:`choose`.
        config: length of the summary and of its shortest piece.

    Returns:
        The chosen and the added pieces, in order of time.
    """
    found = list(chosen)
    room = config.length - sum(piece.end - piece.start for piece in found)
    taken = {piece.start for piece in chosen}
    others = [piece for piece in pieces if piece.start not in taken]
    others.sort(key=lambda piece: -piece.worth(config.diversity) / (piece.end - piece.start))
    for piece in others:
        if room < config.shortest:
            break
        length = min(piece.end - piece.start, room)
        share = length / (piece.end - piece.start)
        part = replace(piece, end=piece.start + length, attention=piece.attention * share)
        found.append(part)
        room -= length
    return sorted(found, key=lambda piece: piece.start)


def joined(pieces: Sequence[Piece]) -> list[Segment]:
    """Convert pieces to segments; adjacent pieces of one label become one segment."""
    found: list[Segment] = []
    for piece in pieces:
        last = found[-1] if found else None
        if last is not None and last.label == piece.label and abs(last.end - piece.start) < 1e-6:
            whole = piece.end - last.start
            score = (last.score * (last.end - last.start)
                     + piece.score * (piece.end - piece.start)) / whole  # fmt: skip
            found[-1] = Segment(last.start, piece.end, piece.label, score)
        else:
            found.append(Segment(piece.start, piece.end, piece.label, piece.score))
    return found


def _borders(
    segments: Sequence[Segment], span: tuple[float, float]
) -> list[tuple[float, float, str, float]]:
    """Return (start, end, label, score) of segments and of the parts between them.

    Where segments overlap, the later one starts at the end of the earlier one.
    """
    found: list[tuple[float, float, str, float]] = []
    at = span[0]
    for segment in sorted(segments, key=lambda s: (s.start, s.end)):
        start, end = max(segment.start, at), min(segment.end, span[1])
        if end <= start:
            continue
        if start > at:
            found.append((at, start, "", 0.0))
        found.append((start, end, segment.label, segment.score))
        at = end
    if at < span[1]:
        found.append((at, span[1], "", 0.0))
    return found


def _even_parts(start: float, end: float, longest: float) -> list[tuple[float, float]]:
    count = max(int(np.ceil((end - start) / longest - 1e-9)), 1)
    edges = np.linspace(start, end, count + 1).tolist()
    return list(pairwise(edges))


def _tokens(times: TokenTimes, start: float, end: float) -> tuple[int, int]:
    """Return the range of tokens whose centre lies in ``[start, end)``."""
    middle = (times.start_seconds + times.end_seconds) / 2
    first, stop = np.searchsorted(middle, [start, end], side="left")
    return int(first), int(stop)


def _mean_features(
    features: FeatureSequence, spans: Sequence[tuple[float, float]]
) -> NDArray[np.float64]:
    """Return the (P, D) mean feature of each piece; the sequence is read once, in blocks."""
    ranges = [_tokens(features.times, a, b) for a, b in spans]
    sums = np.zeros((len(spans), features.num_features))
    place = 0
    for block in features.blocks(_BLOCK):
        for number, (first, stop) in enumerate(ranges):
            low, high = max(first - place, 0), min(stop - place, len(block))
            if high > low:
                sums[number] += block[low:high].sum(0, dtype=np.float64)
        place += len(block)
    counts = np.array([max(stop - first, 1) for first, stop in ranges])
    return np.asarray(sums / counts[:, None], np.float64)


def _novelty(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (P,) novelty of each piece from cosine similarities of centred mean features."""
    centred = means - means.mean(0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = centred / np.where(lengths > 0, lengths, 1)
    if len(unit) < 2:
        return np.ones(len(unit))
    total = unit.sum(0)
    likeness = (unit @ total - 1) / (len(unit) - 1)  # the mean over all others
    return np.asarray(np.clip((1 - likeness) / 2, 0, 1), np.float64)
