"""``vtnstream clips``: segments of a stored result cut out as videos."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.fields import attach, option
from vtnstream.cli.framework.types import complete_files
from vtnstream.cli.options import running, shared
from vtnstream.cli.stored import each_result, find_video
from vtnstream.errors import OutputError, ReportError, UsageError
from vtnstream.registry import suggestion
from vtnstream.report.naming import base_name, file_name

if TYPE_CHECKING:
    from vtnstream.types import Report, Segment

EXAMPLES = """
vtnstream clips match.mp4.json --label goal -o goals/
vtnstream clips surgery.mp4.json --label clipping --min-score 0.8 --pad 2 -o clips/
vtnstream clips movie.mkv.json --label chase --join -o chases/ --copy
"""


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("results", nargs=-1, metavar="RESULTS...", shell_complete=complete_files)
@attach(
    option(
        "--label",
        section="Clips",
        settable=False,
        multiple=True,
        metavar="NAME",
        help="Only segments of this label; again for more [default: all].",
    ),
    option(
        "--min-score",
        section="Clips",
        type=click.FloatRange(0, 1),
        default=0.0,
        metavar="X",
        help="Only segments at least this sure.",
    ),
    option(
        "--pad",
        section="Clips",
        type=click.FloatRange(min=0),
        default=0.0,
        metavar="SECONDS",
        help="Also this much before and after.",
    ),
    option("--join", section="Clips", is_flag=True, help="One file with all of them in a row."),
    option(
        "--copy",
        section="Clips",
        is_flag=True,
        help="Copy packets: fast, but each clip begins at the keyframe before it.",
    ),
    shared.output_dir("Where the clips go.", settable=False),
    shared.overwrite,
    shared.video,
)
@running.speech
@click.pass_obj
def clips(console: Console, /, **values: Any) -> ExitCode:
    """Cut the segments of RESULTS, JSON files that timeline wrote, out of their videos.

    Clips are encoded again, exact to the frame, with their sound; --copy moves packets instead.
    """
    folder = values["output_dir"]
    if folder is None:
        raise UsageError("no place for the clips: say where with -o DIR")
    if values["video"] is not None and len(values["results"]) > 1:
        raise UsageError("--video belongs to one result: name one")

    def work(name: str, report: Report) -> None:
        video = find_video(report, name, values["video"], console)
        if video is None:
            raise ReportError(f"{report.input}: the video is not here: say where with --video FILE")
        chosen = _chosen(report, values["label"], values["min_score"])
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be made ({error.strerror})") from error
        _write(console, video, report, chosen, values)

    return each_result(values["results"], console, work)


def _chosen(report: Report, labels: tuple[str, ...], min_score: float) -> list[Segment]:
    """Raises:
    ReportError: the result has no timeline, or no such segment.
    """
    if report.segments is None:
        raise ReportError(f"{report.input}: holds no timeline: make one with vtnstream timeline")
    known = sorted({segment.label for segment in report.segments})
    for label in labels:
        if label not in known:
            raise ReportError(
                f"{report.input}: no segment {label!r}{suggestion(label, known)} "
                f"(there is {', '.join(known) or 'none'})"
            )
    chosen = [
        s for s in report.segments if (not labels or s.label in labels) and s.score >= min_score
    ]
    if not chosen:
        raise ReportError(f"{report.input}: no segment of these labels and scores")
    return sorted(chosen, key=lambda s: (s.start, s.end))


def _write(
    console: Console,
    video: Path,
    report: Report,
    segments: list[Segment],
    values: dict[str, Any],
) -> None:
    from vtnstream.types import TimeRange
    from vtnstream.video.cut import ENDINGS, cut

    suffix = video.suffix.lower() if video.suffix.lower() in ENDINGS else ".mp4"
    base = base_name(report.input)
    parts: list[TimeRange] = []
    for segment in segments:
        start = max(Fraction(segment.start) - Fraction(values["pad"]), Fraction(0))
        end = Fraction(segment.end) + Fraction(values["pad"])
        if values["join"] and parts and parts[-1].end is not None and start < parts[-1].end:
            parts[-1] = TimeRange(parts[-1].start, max(end, parts[-1].end))
        else:
            parts.append(TimeRange(start, end))
    groups = [parts] if values["join"] else [[part] for part in parts]
    for number, group in enumerate(groups, 1):
        label = (
            "clips" if values["join"] else f"{number:03d}-{_harmless(segments[number - 1].label)}"
        )
        target = values["output_dir"] / file_name(f"{base}.{label}", suffix)
        seconds = cut(
            video, target, group, encode=not values["copy"], overwrite=values["overwrite"]
        )
        console.say(f"wrote {target} ({seconds:.1f} s)")


def _harmless(label: str) -> str:
    """A label as a part of a file's name."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in label)[:60] or "_"
