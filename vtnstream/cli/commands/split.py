"""``vtnstream split``: cut a video into its shots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vtnstream.cli import clip_files
from vtnstream.cli.analysis import BundledNotice, wants_frame_scores
from vtnstream.cli.commands.clips import chosen_segments
from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.fields import attach, option
from vtnstream.cli.framework.process_settings import loading
from vtnstream.cli.framework.progress import CommandProgress
from vtnstream.cli.framework.types import complete_formats
from vtnstream.cli.options import running, shared
from vtnstream.cli.options.input_list import resolve
from vtnstream.cli.result_files import ResultFiles
from vtnstream.cli.session import for_each
from vtnstream.errors import OutputError, UsageError

if TYPE_CHECKING:
    from vtnstream.types import Partial

_EXAMPLES = """
vtnstream split movie.mkv -o shots
vtnstream split movie.mkv -o shots --smart --label shot --name '{stem}-{shot:03}' -f json,images
vtnstream split surgery.mp4 --model models/surgery --label clipping -o phases/
"""


@click.command(cls=Command, examples=_EXAMPLES)
@shared.inputs
@shared.model
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
    shared.output_dir("Write the clips here.", settable=False),
    shared.overwrite,
    option(
        "--format",
        "-f",
        section="Output",
        settable=False,
        multiple=True,
        shell_complete=complete_formats,
        metavar="NAMES",
        help="Also write the result there in these formats, such as json,images.",
    ),
)
@clip_files.cutting("Clips")
@clip_files.naming("Clips")
@shared.timeline
@shared.time_range
@running.runtime
@running.messages
@click.pass_obj
def split(console: Console, /, **values: Any) -> ExitCode:
    """Cut INPUTS into one clip per segment of their timeline; with the bundled model, per shot.

    This combines `timeline` and `clips`. Clips are encoded again, so that they are exact to the
    frame; --smart encodes only frames near the ends, and --copy encodes none.
    """
    inputs = resolve(values, files_only=True)
    folder: Path | None = values["output_dir"]
    if folder is None:
        raise UsageError("no output folder for the clips: name one with -o DIR")
    files = ResultFiles.of(values["format"], console, overwrite=values["overwrite"])
    template = values["name"] or clip_files.DEFAULT_NAME
    clip_files.check_template(template)
    mode = clip_files.mode_from(values)
    localize = shared.timeline_from(values)
    runtime = running.runtime_from(values)
    with loading():
        from vtnstream.analyzer import Analyzer
        from vtnstream.inference.request import Request

        request = Request(
            start=values["start"],
            end=values["end"],
            stream=values["stream"],
            frame_scores=wants_frame_scores(values),
        )
        analyzer = Analyzer(values["model"], runtime=runtime, keep_outputs=True)
    say_once = BundledNotice(console, values["model"])

    def work(path: str, progress: CommandProgress) -> Partial | None:
        everything = [item.path for item in inputs.items]
        files.check(path, folder, inputs=everything)
        report = analyzer.timeline(path, request, localize, progress=progress)
        say_once()
        for warning in report.warnings:
            console.warn(f"{path}: {warning}")
        refusal = files.write(report, folder, inputs=everything)
        if refusal is not None:
            raise OutputError(refusal)
        video = Path(path)
        chosen = chosen_segments(report, values["label"], values["min_score"])
        suffix = clip_files.suffix_for(video, mode)
        clip_files.write_clips(
            console,
            video,
            report.video.stream_index,
            clip_files.separate(report, chosen, template, suffix),
            folder,
            mode=mode,
            overwrite=values["overwrite"],
        )
        return report.partial

    return for_each(inputs, work, console)
