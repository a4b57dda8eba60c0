"""``vtnstream clips``: cut segments of a stored result out of the video."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vtnstream.cli import clip_files
from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.fields import attach, option
from vtnstream.cli.framework.types import complete_files
from vtnstream.cli.options import running, shared
from vtnstream.cli.stored import each_result, find_video
from vtnstream.errors import ReportError, UsageError
from vtnstream.registry import suggestion

if TYPE_CHECKING:
    from vtnstream.types import Report, Segment

_EXAMPLES = """
vtnstream clips match.mp4.json --label goal -o goals/
vtnstream clips surgery.mp4.json --label clipping --min-score 0.8 --pad 2 -o clips/
vtnstream clips movie.mkv.json --label chase --join -o chases/ --copy
vtnstream clips match.mp4.json -o goals/ --smart --name '{stem}-{index:03}-{label}'
"""


@click.command(cls=Command, examples=_EXAMPLES)
@click.argument("results", nargs=-1, metavar="RESULTS...", shell_complete=complete_files)
@attach(
    option(
        "--label",
        section="Clips",
        settable=False,
        multiple=True,
        metavar="NAME",
        help="Cut only segments of this label; may be repeated [default: all].",
    ),
    option(
        "--min-score",
        section="Clips",
        type=click.FloatRange(0, 1),
        default=0.0,
        metavar="X",
        help="Cut only segments with at least this score.",
    ),
    option(
        "--pad",
        section="Clips",
        type=click.FloatRange(min=0),
        default=0.0,
        metavar="SECONDS",
        help="Seconds to add before and after each segment.",
    ),
    option(
        "--join",
        section="Clips",
        is_flag=True,
        help="Write all clips into one file, which -o may name.",
    ),
    shared.output_dir("Write the clips here.", file=True, settable=False),
    shared.overwrite,
    shared.video,
)
@clip_files.cutting("Clips")
@clip_files.naming("Clips")
@running.messages
@click.pass_obj
def clips(console: Console, /, **values: Any) -> ExitCode:
    """Cut the segments of RESULTS (JSON files of `timeline`) out of their videos.

    Clips are encoded again with their sound, so that they are exact to the frame; --copy copies
    packets instead, and --smart encodes only where a cut requires it. Existing clips are kept.
    """
    if values["output_dir"] is None:
        raise UsageError("no output folder for the clips: name one with -o DIR")
    folder, joined_name = clip_files.folder_and_name(values["output_dir"])
    template = values["name"] or clip_files.DEFAULT_NAME
    if joined_name is not None and not (values["join"] and len(values["results"]) == 1):
        raise UsageError(f"-o {values['output_dir']}: a file is for --join of one result")
    if values["video"] is not None and len(values["results"]) > 1:
        raise UsageError("--video is for one result: name one")
    if values["join"] and values["name"] is not None:
        raise UsageError("--name names single clips: leave it out with --join")
    clip_files.check_template(template)
    mode = clip_files.mode_from(values)

    def work(name: str, report: Report) -> None:
        video = find_video(report, name, values["video"], console)
        if video is None:
            raise ReportError(f"{report.input}: the video was not found: name it with --video FILE")
        chosen = chosen_segments(report, values["label"], values["min_score"])
        suffix, pad = clip_files.suffix_for(video, mode), values["pad"]
        if values["join"]:
            clips = [clip_files.joined(report, chosen, suffix, pad, name=joined_name)]
        else:
            clips = clip_files.separate(report, chosen, template, suffix, pad)
        clip_files.write_clips(
            console,
            video,
            report.video.stream_index,
            clips,
            folder,
            mode=mode,
            overwrite=values["overwrite"],
        )

    return each_result(values["results"], console, work)


def chosen_segments(
    report: Report, labels: tuple[str, ...], min_score: float
) -> list[tuple[int, Segment]]:
    """Return the segments of these labels and scores, with their numbers in the result.

    Raises:
        ReportError: the result has no timeline, or no such segment.
    """
    if report.segments is None:
        raise ReportError(f"{report.input}: has no timeline: make one with vtnstream timeline")
    known = sorted({segment.label for segment in report.segments})
    for label in labels:
        if label not in known:
            raise ReportError(
                f"{report.input}: no segment {label!r}{suggestion(label, known)} "
                f"(there is {', '.join(known) or 'none'})"
            )
    chosen = [
        (index, segment)
        for index, segment in clip_files.numbered(report)
        if (not labels or segment.label in labels) and segment.score >= min_score
    ]
    if not chosen:
        raise ReportError(f"{report.input}: no segment with these labels and scores")
    return chosen
