"""``vtnstream summarize``: select the best parts of a video, as an edit list or a video."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import click

from vtnstream.cli import clip_files
from vtnstream.cli.analysis import Answers
from vtnstream.cli.delivery import make_delivery
from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.fields import attach, field, option
from vtnstream.cli.framework.progress import CommandProgress
from vtnstream.cli.framework.types import FileType, SecondsType
from vtnstream.cli.options import running, shared
from vtnstream.cli.options.input_list import require_file, resolve
from vtnstream.cli.session import for_each
from vtnstream.config.summary import SummaryConfig
from vtnstream.errors import UsageError
from vtnstream.replacing import check_target

if TYPE_CHECKING:
    from vtnstream.types import Partial, Report

_EXAMPLES = """
vtnstream summarize match.mp4 --length 2m --model models/match -o summary/
vtnstream summarize surgery.mp4 --length 5:00 --model models/surgery -f edl,otio -o summary/
vtnstream summarize movie.mkv --length 90 --render trailer.mp4
"""
_SECTION = "Summary"


@click.command(cls=Command, examples=_EXAMPLES)
@shared.inputs
@shared.model
@attach(
    option(
        "--length",
        section=_SECTION,
        type=SecondsType(),
        default=SummaryConfig().length,
        metavar="TIME",
        help=f"Longest summary: 90, 2m, 1:30 [default: {SummaryConfig().length:g} s].",
    ),
    field(SummaryConfig, "piece", section=_SECTION, metavar="SECONDS", help="Longest part."),
    field(SummaryConfig, "shortest", section=_SECTION, metavar="SECONDS", help="Shortest part."),
    field(
        SummaryConfig,
        "diversity",
        section=_SECTION,
        metavar="X",
        help="0 to 1: penalty for parts that look like parts already selected.",
    ),
    option(
        "--render",
        section="Output",
        settable=False,
        type=FileType(),
        metavar="FILE",
        help="Also write the shortened video with sound (one input): .mp4, .mkv or .mov.",
    ),
)
@clip_files.cutting("Output")
@shared.timeline
@shared.time_range
@shared.results
@running.runtime
@running.messages
@click.pass_obj
def summarize(console: Console, /, **values: Any) -> ExitCode:
    """Select the best parts of INPUTS by attention, score and variety.

    The result is a report whose segments are the selected parts. -f edl,otio,fcpxml -o DIR
    writes edit lists; --render writes the shortened video.
    """
    inputs = resolve(values)
    if values["render"] is not None and len(inputs.items) != 1:
        raise UsageError("--render is for one video: name one input")
    if values["render"] is not None:
        require_file(inputs, "--render")
        from vtnstream.video.cut import container_of

        container_of(values["render"])
        check_target(
            values["render"], sources=[inputs.items[0].path], overwrite=values["overwrite"]
        )
    mode = clip_files.mode_from(values)
    config = SummaryConfig(
        length=values["length"],
        piece=values["piece"],
        shortest=values["shortest"],
        diversity=values["diversity"],
    )
    delivery = make_delivery(
        values, console, inputs, timeline=True, defaults=("json", "otio"), classes=False
    )
    from vtnstream.inference.request import Request

    request = Request(start=values["start"], end=values["end"], stream=values["stream"])
    localize, runtime = shared.timeline_from(values), running.runtime_from(values)
    answers = Answers(values["model"], request, localize, runtime, config)

    with delivery:

        def work(path: str, progress: CommandProgress) -> Partial | None:
            delivery.begin(path)
            report = answers.report(path, progress)
            for warning in report.warnings:
                console.warn(f"{path}: {warning}")
            delivery.deliver(report)
            if values["render"] is not None:
                _render(console, report, path, mode, values)
            return report.partial

        return for_each(inputs, work, console, on_failure=delivery.fail)


def _render(console: Console, report: Report, path: str, mode: str, values: dict[str, Any]) -> None:
    from vtnstream.types import TimeRange
    from vtnstream.video.cut import CuttingSession

    values["render"].parent.mkdir(parents=True, exist_ok=True)
    segments = report.segments or ()
    parts = [TimeRange(Fraction(s.start), Fraction(s.end)) for s in segments]
    with CuttingSession.of(path, report.video.stream_index) as session:
        target, overwrite = values["render"], values["overwrite"]
        for note in clip_files.write_clip(console, session, target, parts, mode, overwrite):
            console.warn(f"{target}: {note}")
