"""Enforce a minimum length of shots: a shorter shot is merged into a neighbour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
    """Merge shots shorter than ``min_duration`` into a neighbour, the earliest first.

    A short shot is merged with the previous one across a cut, else with the next one across a
    cut, else with the one beyond the previous (or next) transition, which is merged as well. The
    result has the label of its longest shot. Transitions may be shorter than ``min_duration``.

    Args:
        stretches: in order, covering a run.
        min_duration: seconds.
        duration: returns the seconds of a range of tokens.
    """
    found = list(stretches)
    place = 0
    while place < len(found):
        stretch = found[place]
        long = duration(stretch.first, stretch.stop) >= min_duration - TIME_TOLERANCE
        partners = None if stretch.transition or long else _partners(found, place)
        if partners is None:
            place += 1
            continue
        first, stop = partners
        found[first:stop] = [_joined(found[first:stop], duration)]
        place = first
    return found


def _partners(found: list[Stretch], place: int) -> tuple[int, int] | None:
    """Return the places ``[first, stop)`` to merge with the short shot at ``place``; None without
    neighbours."""
    last = len(found) - 1
    if place > 0 and not found[place - 1].transition:
        return place - 1, place + 1
    if place < last and not found[place + 1].transition:
        return place, place + 2
    if place > 0:
        return max(place - 2, 0), place + 1
    if place < last:
        return place, min(place + 3, last + 1)
    return None


def _joined(parts: list[Stretch], duration: Duration) -> Stretch:
    longest = max(parts, key=lambda part: (not part.transition, duration(part.first, part.stop)))
    return Stretch(parts[0].first, parts[-1].stop, longest.label, False)
