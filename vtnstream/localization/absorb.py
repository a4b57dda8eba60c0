"""Enforce a minimum duration of single-label spans: shorter spans are merged into a neighbour."""

from __future__ import annotations

import heapq

from vtnstream.localization.labelling import UNLABELLED
from vtnstream.localization.runs import TIME_TOLERANCE, Run
from vtnstream.localization.spans import Span


def absorb_short(run: Run, spans: list[Span], min_duration: float) -> list[Span]:
    """Merge spans shorter than ``min_duration`` seconds into a neighbour.

    The shortest span is merged first (of equal ones the earliest). Its tokens are added to the
    neighbour with the higher score (of equal ones the earlier), which is then joined with its
    other neighbour if that has the same label. Without a labelled neighbour the span becomes
    unlabelled, so that no labelled span shorter than ``min_duration`` remains. Unlabelled spans
    are not merged.

    Args:
        run: the run that the spans cover.
        spans: in order, without overlap, covering the run; they are changed in place.
        min_duration: seconds.

    Returns:
        The remaining spans, in order, covering the run.
    """
    chain = _Chain(run, spans)
    heap = [key for place in range(len(spans)) if (key := chain.short(place, min_duration))]
    heapq.heapify(heap)
    while heap:
        key = heapq.heappop(heap)
        place = key[2]
        if chain.short(place, min_duration) != key:
            continue  # the span has grown or was merged
        receiver = chain.give_way(place)
        if receiver is not None and (grown := chain.short(receiver, min_duration)):
            heapq.heappush(heap, grown)
    return chain.left()


class _Chain:
    """A doubly linked list of spans, from which a span is removed in O(1)."""

    def __init__(self, run: Run, spans: list[Span]) -> None:
        self._run = run
        self._spans: list[Span | None] = list(spans)
        self._before = list(range(-1, len(spans) - 1))
        self._after = [*range(1, len(spans)), -1]

    def left(self) -> list[Span]:
        return [span for span in self._spans if span is not None]

    def short(self, place: int, min_duration: float) -> tuple[float, int, int] | None:
        """Return the sort key (duration, first token, place) of a labelled span that is too short,
        or None.

        Durations are rounded, so that durations equal except for rounding errors are sorted by
        time.
        """
        span = self._spans[place]
        if span is None or span.label == UNLABELLED:
            return None
        duration = self._run.duration(span.first, span.stop)
        if duration >= min_duration - TIME_TOLERANCE:
            return None
        return round(duration, 6), span.first, place

    def give_way(self, place: int) -> int | None:
        """Merge a span into a neighbour; return the place of that neighbour, or None if none has a
        label."""
        neighbours = self._labelled(place)
        span = self._at(place)
        if not neighbours:
            span.label, span.total = UNLABELLED, 0.0
            return None
        receiver = max(neighbours, key=lambda n: self._at(n).score)
        self._absorb(receiver, place)
        for neighbour in self._labelled(receiver):
            if self._at(neighbour).label == self._at(receiver).label:
                self._absorb(receiver, neighbour)
        return receiver

    def _at(self, place: int) -> Span:
        span = self._spans[place]
        if span is None:
            raise AssertionError(f"span {place} was absorbed before")
        return span

    def _labelled(self, place: int) -> list[int]:
        """Return the places of the labelled neighbours, the earlier one first."""
        around = (self._before[place], self._after[place])
        return [n for n in around if n >= 0 and self._at(n).label != UNLABELLED]

    def _absorb(self, receiver: int, place: int) -> None:
        """Add the tokens of the neighbour ``place`` to ``receiver`` and remove that neighbour."""
        taker, given = self._at(receiver), self._at(place)
        if taker.label == given.label:
            taker.total += given.total
        else:
            taker.total += self._run.total(taker.label, given.first, given.stop)
        taker.first, taker.stop = min(taker.first, given.first), max(taker.stop, given.stop)
        self._spans[place] = None
        left, right = self._before[place], self._after[place]
        if left >= 0:
            self._after[left] = right
        if right >= 0:
            self._before[right] = left
