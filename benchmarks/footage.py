"""Real videos with the truth of their shots: takes without any transition, and edited videos
whose cuts and transitions were annotated by eye.

A folder of them has ``index.csv`` (path, take or edited, category, source and licence, whether
weights may learn from it) and ``truth.json`` (for each edited file ``fps``, ``frames``, ``cuts``
as first frames of shots, ``graduals`` and ``open`` as [first, last]; ``open`` stretches, on
which people would disagree, are not scored).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PARTS = ("learnt from", "looked at", "untouched")
LOOKED_AT = frozenset(
    (
        "goldeneye10.mp4",
        "googlework.mp4",
        "testvideo.mp4",
        "smurf.avi",
        "face1.mov",
        "bikes.mp4",
        "hevc_trip.ts",
        "sh_girl.mp4",
        "carpenter.mp4",
        "jesse.mp4",
        "lp_d3.mp4",
        "lp_d9.mp4",
        "lp_d12.mp4",
        "lp_d20.mp4",
        "tennis8.mp4",
        "tennis_amateur.mp4",
        "baseball.mp4",
        "aoc.mp4",
        "roof.mp4",
        "cutl.mp4",
        "sam_juggle.mp4",
        "climbing.mp4",
        "pex2.mp4",
    )
)
"""Files whose errors were looked at and on which thresholds were chosen. Of the others, those
that weights may learn from are learnt from, and the rest is untouched."""

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Truth:
    """Transitions of one video in seconds of its own clock, which starts at its first frame.

    Attributes:
        cuts: starts of the shots that begin with a cut.
        graduals: from the first mixed frame to the end of the last.
        open: stretches that are not scored.
        fps: frames per second.
    """

    cuts: tuple[float, ...]
    graduals: tuple[Span, ...]
    open: tuple[Span, ...]
    fps: float


@dataclass(frozen=True, slots=True)
class RealVideo:
    """One file; ``truth`` is None for a take, which has no transition."""

    path: Path
    category: str
    part: str
    annotation: dict[str, object] | None

    @property
    def is_take(self) -> bool:
        return self.annotation is None

    def frames_of(self, name: str) -> list[tuple[int, int]]:
        """Return ``cuts``, ``graduals`` or ``open`` as annotated: spans [first, last] of frames."""
        found = (self.annotation or {}).get(name, [])
        assert isinstance(found, list)
        return [(e, e) if isinstance(e, int) else (e[0], e[1]) for e in found]

    def truth(self, starts: Sequence[float]) -> Truth:
        """Return its transitions, given the seconds at which its decoded frames start."""
        fps = (len(starts) - 1) / max(starts[-1] - starts[0], 1e-6)
        if self.annotation is None:
            return Truth((), (), (), fps)
        known = self.annotation
        rate, count = float(str(known["fps"])), int(str(known["frames"]))
        same = abs(count - len(starts)) <= 2
        last = len(starts) - 1

        def second(frame: int) -> float:
            if not same:  # the truth counts frames at another rate
                return frame / rate
            return starts[min(frame, last)] - starts[0] + max(frame - last, 0) / fps

        def spans(name: str) -> tuple[Span, ...]:
            pairs = known[name]
            assert isinstance(pairs, list)
            return tuple((second(a), second(b + 1)) for a, b in pairs)

        cuts = known["cuts"]
        assert isinstance(cuts, list)
        return Truth(tuple(map(second, cuts)), spans("graduals"), spans("open"), fps)


def read_footage(folder: Path) -> list[RealVideo]:
    """Read all files of ``index.csv``, in its order.

    Raises:
        SystemExit: a file does not exist.
    """
    index, truth = folder / "index.csv", folder / "truth.json"
    for file in (index, truth):
        if not file.exists():
            raise SystemExit(f"{file}: not there: --data names a folder with index.csv, truth.json")
    annotations = json.loads(truth.read_text())
    videos = []
    with index.open(newline="") as lines:
        for row in csv.DictReader(lines):
            name = row["path"]
            may_learn = row["weights may learn from it"] == "yes"
            part = "learnt from" if may_learn else "untouched"
            if Path(name).name in LOOKED_AT:
                part = "looked at"
            edited = row["kind"] == "edited"
            known = annotations[name] if edited else None
            videos.append(RealVideo(folder / name, row["category"], part, known))
    missing = [str(video.path) for video in videos if not video.path.exists()]
    if missing:
        raise SystemExit(f"{missing[0]}: not there")
    return videos
