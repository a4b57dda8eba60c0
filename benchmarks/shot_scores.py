"""Score shots against the truth of real videos.

A cut is right within one frame or 0.1 s of one true cut. A gradual transition is right if a
found one overlaps it, or if a detector that finds only cuts finds one in it. Transitions in an
``open`` stretch are not counted as false. ``any`` ignores the type: it accepts a cut that is
reported as a short transition, and the reverse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.edit_scores import Count
from benchmarks.footage import Span, Truth
from vtnstream.types import Segment

NEAR_SECONDS = 0.1
_GRADUAL = ("dissolve", "fade", "wipe")


@dataclass(frozen=True, slots=True)
class Found:
    """The result of one detector for one video, in seconds from its first frame.

    Attributes:
        cuts: starts of shots.
        graduals: gradual transitions; none from a detector that finds only cuts.
        is_take: whether it classifies the video as one continuous take.
    """

    cuts: tuple[float, ...]
    graduals: tuple[Span, ...]
    is_take: bool


def found_in(segments: Sequence[Segment], start: float, is_take: bool) -> Found:
    """Return the transitions of a report's segments.

    A boundary between two segments that are no gradual transitions is a cut, except into a
    freeze, which is a part of its shot.
    """
    cuts: list[float] = []
    graduals: list[Span] = []
    before = ""
    for segment in segments:
        if segment.label in _GRADUAL:
            graduals.append((segment.start - start, segment.end - start))
        elif before and before not in _GRADUAL and segment.label != "freeze":
            cuts.append(segment.start - start)
        before = segment.label
    return Found(tuple(cuts), tuple(_touching_joined(graduals)), is_take)


def _touching_joined(spans: list[Span]) -> list[Span]:
    joined: list[Span] = []
    for span in spans:
        if joined and span[0] - joined[-1][1] < 1e-3:
            joined[-1] = (joined[-1][0], span[1])
        else:
            joined.append(span)
    return joined


@dataclass
class RealScores:
    """Sums over videos."""

    cut: Count = field(default_factory=Count)
    gradual: Count = field(default_factory=Count)
    any: Count = field(default_factory=Count)
    false_in_takes: int = 0
    take_seconds: float = 0.0
    takes: int = 0
    takes_right: int = 0
    edited: int = 0
    edited_called_takes: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def false_an_hour(self) -> float | None:
        if not self.take_seconds:
            return None
        return self.false_in_takes / self.take_seconds * 3600

    @property
    def kind_right(self) -> float:
        right = self.takes_right + self.edited - self.edited_called_takes
        return right / max(self.takes + self.edited, 1)

    def add_take(self, name: str, found: Found, seconds: float) -> None:
        """Add a video without any transition."""
        false = len(found.cuts) + len(found.graduals)
        self.false_in_takes += false
        self.take_seconds += seconds
        self.takes += 1
        self.takes_right += found.is_take
        if false:
            places = [*found.cuts, *(a for a, _ in found.graduals)]
            self.errors.append(f"{name}: false at {_listed(places)}")

    def add_edited(self, name: str, found: Found, truth: Truth) -> None:
        """Add a video with known transitions."""
        near = max(1 / truth.fps, NEAR_SECONDS) + 1e-3
        cuts, graduals = list(found.cuts), list(found.graduals)
        missed = _without_near(truth.cuts, cuts, near)
        not_overlapped = _without_overlapping(truth.graduals, graduals)
        missed_graduals = _without_inside(not_overlapped, cuts, 2 / truth.fps)
        cuts = [c for c in cuts if not _in_any((c, c), truth.open, near)]
        graduals = [g for g in graduals if not _in_any(g, truth.open, near)]
        cut_hits = len(truth.cuts) - len(missed)
        gradual_hits = len(truth.graduals) - len(missed_graduals)
        self.cut.add(cut_hits, cut_hits + len(cuts), len(truth.cuts))
        self.gradual.add(gradual_hits, gradual_hits + len(graduals), len(truth.graduals))
        # For "any", a cut that is reported as a short transition is found.
        as_graduals = list(graduals)
        still_missed = _without_overlapping([(c - near, c + near) for c in missed], as_graduals)
        hits = cut_hits + gradual_hits + len(missed) - len(still_missed)
        wanted = len(truth.cuts) + len(truth.graduals)
        self.any.add(hits, hits + len(cuts) + len(as_graduals), wanted)
        self.edited += 1
        self.edited_called_takes += found.is_take
        wrong = {
            "missed cuts": missed,
            "missed graduals": [a for a, _ in missed_graduals],
            "false cuts": cuts,
            "false graduals": [a for a, _ in graduals],
        }
        parts = [f"{what} {_listed(places)}" for what, places in wrong.items() if places]
        if parts:
            self.errors.append(f"{name}: {', '.join(parts)}")


def _listed(places: Sequence[float]) -> str:
    return " ".join(f"{place:.2f}" for place in places)


def _without_near(wanted: Sequence[float], found: list[float], near: float) -> list[float]:
    """Return the wanted times without a match within ``near``; remove matches from ``found``."""
    missed = []
    for place in wanted:
        close = [c for c in found if abs(c - place) <= near]
        if close:
            found.remove(min(close, key=lambda c: abs(c - place)))
        else:
            missed.append(place)
    return missed


def _without_overlapping(wanted: Sequence[Span], found: list[Span]) -> list[Span]:
    """Return the wanted spans that overlap no span of ``found``; remove matches, the largest
    overlap first."""
    missed = []
    for first, last in wanted:
        close = [g for g in found if g[0] < last and g[1] > first]
        if close:
            found.remove(max(close, key=lambda g: min(g[1], last) - max(g[0], first)))
        else:
            missed.append((first, last))
    return missed


def _without_inside(wanted: Sequence[Span], found: list[float], margin: float) -> list[Span]:
    """Return the wanted spans with no time of ``found`` inside; remove matches from ``found``."""
    missed = []
    for first, last in wanted:
        inside = [c for c in found if first - margin <= c < last + margin]
        if inside:
            found.remove(inside[0])
        else:
            missed.append((first, last))
    return missed


def _in_any(span: Span, spans: Sequence[Span], near: float) -> bool:
    return any(span[0] <= last + near and span[1] >= first - near for first, last in spans)
