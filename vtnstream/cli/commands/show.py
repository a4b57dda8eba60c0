"""``vtnstream show``: show stored results in the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from vtnstream.cli.delivery import TERMINAL_TOP_K, terminal
from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.fields import attach, option
from vtnstream.cli.framework.types import complete_files
from vtnstream.cli.options import running
from vtnstream.cli.pictures import illustrated, thumbnails_option
from vtnstream.cli.stored import each_result

if TYPE_CHECKING:
    from vtnstream.types import Report

_EXAMPLES = """
vtnstream show results/movie.mkv.json
vtnstream show results/*.json --top-k 1 --segments 0
ssh server cat movie.mkv.json | vtnstream show -
"""


@click.command(cls=Command, examples=_EXAMPLES)
@click.argument("results", nargs=-1, metavar="RESULTS...", shell_complete=complete_files)
@attach(
    option(
        "--top-k",
        section="Output",
        type=click.IntRange(min=1),
        metavar="K",
        default=TERMINAL_TOP_K,
        show_default=True,
        help="Number of classes.",
    ),
    option(
        "--segments",
        section="Output",
        type=click.IntRange(min=0),
        metavar="N",
        help="Rows in the table of segments [default: 30]; the timeline above it shows all.",
    ),
    thumbnails_option,
)
@running.messages
@click.pass_obj
def show(console: Console, /, **values: Any) -> ExitCode:
    """Show RESULTS (JSON files of `classify` or `timeline`) in the terminal."""
    from vtnstream.report.terminal.render import MAX_SEGMENTS, print_report

    rows = MAX_SEGMENTS if values["segments"] is None else values["segments"]
    num_shown = 0

    def work(name: str, report: Report) -> None:
        nonlocal num_shown
        screen = terminal()
        report = illustrated(report, screen, console, wanted=values["thumbnails"])
        with console.writing():
            if num_shown:
                sys.stdout.write("\n")
            print_report(report, screen, top_k=values["top_k"], max_segments=rows)
        num_shown += 1

    return each_result(values["results"], console, work)
