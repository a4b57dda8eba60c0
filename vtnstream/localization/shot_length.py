"""A minimum length of shots: a shorter one joins a neighbour, and the boundary between them is
gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vtnstream.localization.runs import TIME_TOLERANCE

Duration = Callable[[int, int], float]
"""Seconds of the tokens ``[first, stop)``."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Tokens ``[first, stop)`` of one label; ``transition`` is a gradual one between shots."""

    first: int
    stop: int
    label: int
    transition: bool


def merge_short(stretches: list[Stretch], min_duration: float, duration: Duration) -> list[Stretch]:
    """Join shots shorter than ``min_duration`` to a neighbour, the earliest first.

    A short shot joins the one before it across a cut, else the one after it across a cut, else
    the one beyond the transition before (or after) it, which goes with it. What is joined has
    the label of its longest shot. Transitions may be shorter than ``min_duration``.

    Args:
        stretches: in order, covering a run.
        min_duration: seconds.
        duration: of tokens.
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
    """Places ``[first, stop)`` to join with the short shot at ``place``; None where it is all
    there is."""
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
