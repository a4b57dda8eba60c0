"""``vtnstream export``: write stored results in other formats, without decoding the video."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.fields import attach, option
from vtnstream.cli.framework.types import FileType, complete_files, complete_formats
from vtnstream.cli.options import running, shared
from vtnstream.cli.result_files import STANDARD_OUTPUT, ResultFiles
from vtnstream.cli.stored import each_result, find_video
from vtnstream.errors import OutputError, ReportError, UsageError

if TYPE_CHECKING:
    from vtnstream.types import Report

_EXAMPLES = """
vtnstream export movie.mkv.json -f srt,otio
vtnstream export movie.mkv.json -f csv -o - | column -s, -t
vtnstream export movie.mkv.json -f images,contact-sheet --video movie.mkv
vtnstream export results/*.json -f all -o exported
vtnstream export movie.mkv.json --chapters-into movie-with-chapters.mkv
vtnstream timeline movie.mkv --json | vtnstream export - -f edl
vtnstream export --schema > report.schema.json
"""


@click.command(cls=Command, examples=_EXAMPLES)
@click.argument("results", nargs=-1, metavar="RESULTS...", shell_complete=complete_files)
@attach(
    option(
        "--format",
        "-f",
        section="Output",
        settable=False,
        multiple=True,
        shell_complete=complete_formats,
        metavar="NAMES",
        help="Formats to write, such as srt,otio, or all.",
    ),
    shared.output_dir(
        "Write the files here; - prints one format [default: the result's folder].",
        printing=True,
        settable=False,
    ),
    option(
        "--chapters-into",
        section="Output",
        settable=False,
        type=FileType(),
        metavar="COPY",
        help="Copy the video to COPY (.mkv, .mp4, .mov) with the segments as chapters, without "
        "encoding.",
    ),
    shared.overwrite,
    shared.video,
    option(
        "--schema",
        section="Output",
        settable=False,
        is_flag=True,
        help="Print the JSON Schema of results and exit.",
    ),
)
@running.messages
@click.pass_obj
def export(console: Console, /, **values: Any) -> ExitCode:
    """Write RESULTS (JSON files of `classify` or `timeline`) in other formats.

    No model is run. The video is needed only for --chapters-into, for images and contact sheets,
    and for the thumbnails of an HTML page.
    """
    if values["schema"]:
        return _print_schema(console)
    if not values["format"] and values["chapters_into"] is None:
        raise UsageError("no format: name some with -f srt,otio, or use --chapters-into COPY.mkv")
    for flag in ("chapters_into", "video"):
        if values[flag] is not None and len(values["results"]) > 1:
            raise UsageError(f"--{flag.replace('_', '-')} is for one result: name one")
    files = ResultFiles.of(values["format"], console, overwrite=values["overwrite"])
    printed = str(values["output_dir"]) == STANDARD_OUTPUT
    if printed:
        files.check_printable()
        if len(values["results"]) > 1:
            raise UsageError("-o - prints one result: name one, or a folder with -o DIR")

    def work(name: str, report: Report) -> None:
        video = find_video(report, name, values["video"], console)
        if values["chapters_into"] is not None:
            copy, replace = values["chapters_into"], values["overwrite"]
            _copy_with_chapters(report, video, copy, console, overwrite=replace)
        if printed:
            files.print(report, video=video)
            return
        beside = Path(os.path.dirname(name) if name != "-" else "")
        folder = values["output_dir"] or beside
        # "all" must not overwrite the result itself: fields unknown to this version would be lost.
        own = {"json"} if files.every and os.path.abspath(folder) == os.path.abspath(beside) else {}
        refusal = files.write(report, folder, video=video, without=own)
        if refusal is not None:
            raise OutputError(refusal)

    return each_result(values["results"], console, work)


def _copy_with_chapters(
    report: Report, video: Path | None, copy: Path, console: Console, *, overwrite: bool
) -> None:
    from vtnstream.report.formats import WRITERS
    from vtnstream.report.place import Place
    from vtnstream.report.writers.chapters import chapters_of
    from vtnstream.video.remux import copy_with_chapters

    if video is None:
        raise ReportError(f"{report.input}: the video was not found: name it with --video FILE")
    if why := WRITERS["chapters"].refuses(report, Place.of(report, copy.parent)):
        raise OutputError(f"{report.input}: no chapters: {why}")
    copy.parent.mkdir(parents=True, exist_ok=True)
    for sentence in copy_with_chapters(video, copy, chapters_of(report), overwrite=overwrite):
        console.warn(f"{video}: {sentence}")
    console.say(f"wrote {copy}")


def _print_schema(console: Console) -> ExitCode:
    from importlib.resources import files

    console.out(files("vtnstream.report").joinpath("schema.json").read_text("utf-8").rstrip())
    return ExitCode.OK
