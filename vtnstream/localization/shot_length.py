"""Enforce a minimum length of shots: a shorter shot is merged into a neighbour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from vtnstream.localization.runs import TIME_TOLERANCE

Duration = Callable[[int, int], float]
"""Function that returns the seconds of the tokens ``[first, stop)``."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The tokens ``[first, stop)``, which have one label.

    Attributes:
        first, stop: range of tokens.
        label: label of the tokens.
        transition: whether they are a gradual transition between shots.
    """

    first: int
    stop: int
    label: int
    transition: bool


def merge_short(stretches: list[Stretch], min_duration: float, duration: Duration) -> list[Stretch]:
    """Merge shots shorter than ``min_duration`` into a neighbour, the shortest first.

    A short shot is merged with the shorter of its neighbours across a cut, so that shots do not
    become longer than necessary. Between two transitions it is merged with the shorter of the
    shots beyond them, and that transition as well. The result has the label of its longest shot.
    Transitions may be shorter than ``min_duration``. Of equal lengths the earlier counts.

    Args:
        stretches: in order, covering a run.
        min_duration: seconds.
        duration: returns the seconds of a range of tokens.
    """
    chain = _Chain(stretches, duration)
    heap = [chain.key(place) for place in range(len(stretches))]
    heap = [key for key in heap if key[0] < min_duration - TIME_TOLERANCE]
    heapify(heap)
    while heap:
        key = heappop(heap)
        place = key[2]
        if chain.stretches[place] is None or chain.key(place) != key:
            continue  # the shot was merged, or has grown
        grown = chain.merge(place)
        if grown is not None and (longer := chain.key(grown))[0] < min_duration - TIME_TOLERANCE:
            heappush(heap, longer)
    return [stretch for stretch in chain.stretches if stretch is not None]


class _Chain:
    """A doubly linked list of stretches, in which neighbours are merged in O(1)."""

    def __init__(self, stretches: list[Stretch], duration: Duration) -> None:
        self.stretches: list[Stretch | None] = list(stretches)
        self._duration = duration
        self._before = list(range(-1, len(stretches) - 1))
        self._after = [*range(1, len(stretches)), -1]

    def key(self, place: int) -> tuple[float, int, int]:
        """Return the key by which short shots are sorted: duration, first token, place.

        The duration is rounded, so that lengths that differ by rounding alone are sorted by time.
        That of a transition is infinite.
        """
        stretch = self._at(place)
        return self._length(place), stretch.first, place

    def merge(self, place: int) -> int | None:
        """Merge a short shot into a neighbour; return the place of the result, or None without
        neighbours."""
        sides = [self._side(place, self._before), self._side(place, self._after)]
        if not any(sides):
            return None
        crossed = [side for side in sides if len(side) == 1 and not self._at(side[0]).transition]
        beyond = [side for side in sides if side]
        chosen = min(crossed or beyond, key=lambda side: self._length(side[-1]))
        return self._join(sorted([place, *chosen], key=lambda p: self._at(p).first))

    def _side(self, place: int, links: list[int]) -> list[int]:
        """Return the neighbour in one direction, and behind a transition the shot beyond it."""
        near = links[place]
        if near < 0:
            return []
        far = links[near]
        return [near, far] if self._at(near).transition and far >= 0 else [near]

    def _join(self, places: list[int]) -> int:
        parts = [self._at(place) for place in places]
        longest = max(
            parts, key=lambda part: (not part.transition, self._duration(part.first, part.stop))
        )
        left, right = self._before[places[0]], self._after[places[-1]]
        kept, *others = places
        for other in others:
            self.stretches[other] = None
        self.stretches[kept] = Stretch(parts[0].first, parts[-1].stop, longest.label, False)
        self._before[kept], self._after[kept] = left, right
        if left >= 0:
            self._after[left] = kept
        if right >= 0:
            self._before[right] = kept
        return kept

    def _length(self, place: int) -> float:
        stretch = self._at(place)
        if stretch.transition:
            return float("inf")
        return round(self._duration(stretch.first, stretch.stop), 6)

    def _at(self, place: int) -> Stretch:
        stretch = self.stretches[place]
        if stretch is None:
            raise AssertionError(f"stretch {place} was merged before")
        return stretch
