"""``vtnstream demo``: shows why a model should read the whole sequence."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vtnstream.cli.delivery import terminal
from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.fields import attach, option
from vtnstream.cli.framework.process_settings import keep_freed_memory
from vtnstream.cli.framework.progress import make_progress
from vtnstream.cli.framework.types import FolderType
from vtnstream.cli.options import running, shared
from vtnstream.timecode import format_time

if TYPE_CHECKING:
    from rich.text import Text

    from vtnstream.training.demo import DemoModel, DemoResult
    from vtnstream.types import Report, Segment

_EXAMPLES = """
vtnstream demo
vtnstream demo -o /tmp/demo --seed 7 --json
"""
_TRUTH, _WHOLE, _LOCAL = "truth", "whole", "local"


@click.command(cls=Command, examples=_EXAMPLES)
@attach(
    option(
        "--output-dir",
        "-o",
        section="Demo",
        type=FolderType(),
        default=Path("vtnstream-demo"),
        show_default=True,
        metavar="DIR",
        help="Write videos, annotations and models here.",
    ),
    option(
        "--seed",
        section="Demo",
        type=int,
        default=0,
        metavar="N",
        show_default=True,
        help="Random seed; another seed makes other videos.",
    ),
    shared.overwrite,
)
@shared.as_json
@running.messages
@click.pass_obj
def demo(console: Console, /, **values: Any) -> None:
    """Make short videos, train two small models on them, and compare the models.

    A coloured bar in the first seconds of each video decides the label of every later moment.
    The first model reads the whole video, the second only a few seconds around each moment.
    """
    from vtnstream.replacing import check_target, remember
    from vtnstream.training.demo import run_demo

    folder: Path = values["output_dir"]
    signs = [folder / "annotations.csv", folder / "videos" / "video_0000.mp4"]
    for sign in signs:
        check_target(sign, overwrite=values["overwrite"], remembered=True)
    keep_freed_memory()
    progress = make_progress(console)
    try:
        result = run_demo(folder, seed=values["seed"], progress=progress)
    finally:
        progress.close()
        remember(signs)
    if values["json"]:
        console.out(json.dumps(_document(result), indent=2))
        return
    with console.writing():
        _print(result)


def _print(result: DemoResult) -> None:
    from rich.text import Text

    from vtnstream.report.terminal.canvas import Canvas
    from vtnstream.report.terminal.drawing import timeline_lines
    from vtnstream.report.terminal.legend import Legend

    screen = terminal()
    canvas = Canvas.of(screen)
    report = _side_by_side(result)
    legend = Legend.of(report, canvas)
    strips = timeline_lines(report, legend, canvas)[: -len(legend.lines(gaps=False))]
    names = Text("  ").join(Text.assemble(legend.mark(name), f" {name}") for name in legend.labels)
    lines = [
        Text(f"{result.video}: a video unseen in training; the bar at its start is {result.cue}"),
        Text(),
        *strips,
        names,  # without the shares of time that a timeline's legend shows
        Text(),
        Text(
            f"correct frames in {result.num_unseen} unseen videos (chance: {result.chance:.0f} %)"
        ),
        _score(_WHOLE, "reads the whole video at once", result.vtn),
        _score(_LOCAL, "the same without global attention", result.without_global_attention),
        Text(),
        Text(f"total time {format_time(result.seconds, digits=0)}; try next:"),
        *(Text(f"  {command}") for command in _next_commands(result)),
    ]
    for line in lines:
        screen.print(line, highlight=False, soft_wrap=True)


def _score(track: str, what: str, model: DemoModel) -> Text:
    from rich.text import Text

    return Text(f"  {track:<6} {model.accuracy:5.1f} %  {what}")


def _side_by_side(result: DemoResult) -> Report:
    """Make one report with three tracks: the annotation and the predictions of both models."""
    whole, local = result.vtn, result.without_global_attention

    def on(track: str, segments: tuple[Segment, ...]) -> list[Segment]:
        return [dataclasses.replace(segment, track=track) for segment in segments]

    return dataclasses.replace(
        whole.report,
        segments=(
            *on(_TRUTH, result.truth),
            *on(_WHOLE, whole.segments),
            *on(_LOCAL, local.segments),
        ),
        labels=result.labels,
    )


def _next_commands(result: DemoResult) -> list[str]:
    def line(*words: object) -> str:
        return shlex.join(["vtnstream", *map(str, words)])

    model = result.vtn.folder
    return [
        line("timeline", result.video, "--model", model),
        line("models", "show", model),
        line("plan", "your-video.mp4", "--model", model),
        line(
            "train", "your-labels.csv", "-o", "your-model", "--backbone", "resnet50", "--pretrained"
        ),
        line("train", "your-labels.csv", "-o", "your-model")
        + "  # without a network: weights of the extra backbone",
    ]


def _document(result: DemoResult) -> dict[str, Any]:
    def model(made: DemoModel) -> dict[str, Any]:
        return {
            "folder": str(made.folder),
            "accuracy": made.accuracy,
            "segments": [dataclasses.asdict(segment) for segment in made.segments],
        }

    return {
        "video": str(result.video),
        "annotations": str(result.annotations),
        "cue": result.cue,
        "truth": [dataclasses.asdict(segment) for segment in result.truth],
        "whole": model(result.vtn),
        "local": model(result.without_global_attention),
        "chance": result.chance,
        "num_train": result.num_train,
        "num_unseen": result.num_unseen,
        "num_steps": result.num_steps,
        "seconds": result.seconds,
    }
