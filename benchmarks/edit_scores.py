"""Score cuts and transitions as in shot-boundary detection.

A cut matches one true cut at most one frame apart. A gradual transition matches one true one
that shares at least one frame. ``strict`` counts every cut without a match as false; ``lenient``
ignores those on a gradual transition or within two frames of it. A hard change into black or a
freeze counts neither as missed nor as false.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

from vtnstream.types import Segment

GRADUAL = ("dissolve", "fade", "wipe")
FLAT = ("black", "freeze")
NEAR = 1
"""Largest distance in frames between a cut and its match."""
AROUND = 2
"""Frames around a transition that still belong to it."""

Stretch = tuple[int, int]


@dataclass(frozen=True)
class Events:
    """Edits of one video as frame numbers.

    ``cuts`` are first frames of shots, ``graduals`` are ``[first, stop)``, and ``open`` are
    changes that are not scored.
    """

    cuts: tuple[int, ...]
    graduals: tuple[Stretch, ...]
    open: tuple[int, ...] = ()


def events_of(segments: Sequence[Segment], fps: Fraction | float) -> Events:
    """Return the edits of consecutive segments.

    In the truth a cut is a segment of its own; in a report it is a boundary between shots.
    """
    frames = [(round(s.start * fps), round(s.end * fps), s.label) for s in segments]
    cuts: list[int] = []
    untold: list[int] = []
    for (_, stop, before), (first, _, after) in pairwise(frames):
        if after == "cut":
            cuts.append(first)
        elif before != "cut" and not {before, after} & set(GRADUAL) and stop == first:
            (untold if after in FLAT else cuts).append(first)
    graduals: list[Stretch] = []
    for first, stop, label in frames:
        if label in GRADUAL and graduals and graduals[-1][1] == first:
            graduals[-1] = (graduals[-1][0], stop)
        elif label in GRADUAL:
            graduals.append((first, stop))
    return Events(tuple(cuts), tuple(graduals), tuple(untold))


@dataclass
class Count:
    """Numbers of true positives, of found and of wanted events."""

    hits: int = 0
    found: int = 0
    wanted: int = 0

    def add(self, hits: int, found: int, wanted: int) -> None:
        self.hits += hits
        self.found += found
        self.wanted += wanted

    @property
    def precision(self) -> float:
        return self.hits / self.found if self.found else float(not self.wanted)

    @property
    def recall(self) -> float:
        return self.hits / self.wanted if self.wanted else 1.0

    @property
    def f1(self) -> float:
        total = self.found + self.wanted
        return 2 * self.hits / total if total else 1.0


@dataclass
class Scores:
    """Sums over videos (micro averages)."""

    strict: Count = field(default_factory=Count)
    lenient: Count = field(default_factory=Count)
    gradual: Count = field(default_factory=Count)
    gradual_half: Count = field(default_factory=Count)
    """Matches with an intersection over union of at least one half."""
    false_events: int = 0
    """False events in videos without edits."""

    def add(self, found: Events, truth: Events) -> None:
        """Score the cuts and transitions found in one video."""
        self._cuts(found.cuts, truth)
        wanted = len(truth.graduals)
        overlaps = _pairs(found.graduals, truth.graduals, least=0.0)
        self.gradual.add(overlaps, len(found.graduals), wanted)
        half = _pairs(found.graduals, truth.graduals, least=0.5)
        self.gradual_half.add(half, len(found.graduals), wanted)
        if not (truth.cuts or truth.graduals or truth.open):
            self.false_events += len(found.cuts) + len(found.graduals)

    def add_points(self, cuts: Sequence[int], truth: Events) -> None:
        """Score a detector that finds single frames only.

        A frame in a transition or within two frames of it finds the transition, unless a cut
        needs it.
        """
        left = self._cuts(cuts, truth)
        hit = {
            number
            for number, (first, stop) in enumerate(truth.graduals)
            for cut in left
            if first - AROUND <= cut < stop + AROUND
        }
        self.gradual.add(len(hit), len(left), len(truth.graduals))
        if not (truth.cuts or truth.graduals or truth.open):
            self.false_events += len(cuts)

    def _cuts(self, cuts: Sequence[int], truth: Events) -> list[int]:
        """Count cuts; return those without a match."""
        left = list(cuts)
        hits = 0
        for place in truth.cuts:
            near = [cut for cut in left if abs(cut - place) <= NEAR]
            if near:
                left.remove(min(near, key=lambda cut: abs(cut - place)))
                hits += 1
        left = [cut for cut in left if all(abs(cut - place) > NEAR for place in truth.open)]
        outside = [cut for cut in left if not _within(cut, truth.graduals)]
        self.strict.add(hits, hits + len(left), len(truth.cuts))
        self.lenient.add(hits, hits + len(outside), len(truth.cuts))
        return left


def _within(cut: int, stretches: Iterable[Stretch]) -> bool:
    return any(first - AROUND <= cut < stop + AROUND for first, stop in stretches)


def _pairs(found: Sequence[Stretch], truth: Sequence[Stretch], least: float) -> int:
    """Return the number of one-to-one matches, the largest overlap first."""
    candidates = []
    for i, (a, b) in enumerate(found):
        for j, (c, d) in enumerate(truth):
            common = min(b, d) - max(a, c)
            if common >= 1 and common / (max(b, d) - min(a, c)) >= least:
                candidates.append((common, i, j))
    taken: set[tuple[str, int]] = set()
    pairs = 0
    for _, i, j in sorted(candidates, reverse=True):
        if ("found", i) not in taken and ("truth", j) not in taken:
            taken |= {("found", i), ("truth", j)}
            pairs += 1
    return pairs
