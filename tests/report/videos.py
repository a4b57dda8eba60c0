"""Real videos at the usual frame rates, and results for them with known frames."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from tests.synth import SyntheticVideo
from vtnstream.report.reading import report_from_json
from vtnstream.report.writers.structured import report_json
from vtnstream.types import Report, Segment
from vtnstream.video.probe import probe
from vtnstream.video.sampling.counting import count_frames

NTSC = Fraction(1000, 1001)

RATES: dict[str, Fraction | None] = {
    "23.976": 24 * NTSC,
    "25": Fraction(25),
    "29.97": 30 * NTSC,
    "variable": None,
}
COUNT = 150
EDGES = (0, 31, 32, 75, 76, 120, 150)
"""Frames at which segments begin and end; one segment has a single frame, and one stretch has
none."""
BARE = 2
LABELS = ("intro", "a/b", "intro", "Schnitt — 切", "=1+1", "end")


@dataclass(frozen=True)
class Case:
    """A video and its result, after writing and reading it as JSON.

    Attributes:
        path: the video.
        rate: frames per second, None if they vary.
        times: exact player time at which each frame begins, and the end of the last.
        report: the result.
        cuts: first frame, stop frame and label of each segment.
    """

    path: Path
    rate: Fraction | None
    times: tuple[Fraction, ...]
    report: Report
    cuts: tuple[tuple[int, int, str], ...]

    @property
    def spans(self) -> list[tuple[Fraction, Fraction, str]]:
        return [(self.times[a], self.times[b], label) for a, b, label in self.cuts]


def make_case(folder: Path, name: str, suffix: str = ".mp4") -> Case:
    """Write a video of the rate that :data:`RATES` names, and return it with its result."""
    rate = RATES[name]
    starts = [Fraction(k) / (rate or 30) for k in range(COUNT + 1)]
    if rate is None:  # a second half that is slower, and a jitter no grid explains
        starts = [
            t if k < 60 else 2 * t - starts[60] + Fraction(k % 7, 900) for k, t in enumerate(starts)
        ]
    video = SyntheticVideo(
        count=COUNT,
        rate=rate or 30,
        ticks=rate.numerator if rate else 90_000,
        times=starts[:-1],
        last_seconds=starts[-1] - starts[-2],
        b_frames=2,
    )
    path = video.write(folder / f"{name} film{suffix}")
    pairs = zip(EDGES[:-1], EDGES[1:], LABELS, strict=True)
    cuts = tuple((a, b, label) for k, (a, b, label) in enumerate(pairs) if k != BARE)
    report = Report(
        input=str(path),
        video=probe(path),
        model={"name": "vtn-test"},
        segments=tuple(
            Segment(float(starts[a]), float(starts[b]), label, 0.5 + k / 100)
            for k, (a, b, label) in enumerate(cuts)
        ),
        labels=tuple(dict.fromkeys(LABELS)),
        end_seconds=float(starts[-1]),
        frame_rate=rate,
        frames=count_frames(path),
    )
    stored = report_from_json(report_json(report))
    return Case(path, rate, tuple(starts), stored, cuts)
