"""``vtnstream attention``: the attention of a video's class over time."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from vtnstream.cli.analysis import Answers
from vtnstream.cli.delivery import terminal
from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.fields import attach, option
from vtnstream.cli.framework.progress import CommandProgress
from vtnstream.cli.options import running, shared
from vtnstream.cli.options.input_list import require_file, resolve
from vtnstream.cli.session import for_each
from vtnstream.errors import OutputError, UsageError
from vtnstream.report.naming import file_name, output_names

if TYPE_CHECKING:
    from vtnstream.types import AttentionMap, FloatArray, Moment, Partial, Report

_EXAMPLES = """
vtnstream attention surgery.mp4 --model models/surgery
vtnstream attention movie.mkv --layer 1 --head 3 --top 5
vtnstream attention match.mp4 -o attention/
"""
_IMAGE, _WEIGHTS = ".attention.png", ".attention.json"
_NUM_STILLS, _STILL_HEIGHT = 12, 120
"""Number of frames in the image (evenly spaced and at the strongest moments), and their height."""


@click.command(cls=Command, examples=_EXAMPLES)
@shared.inputs
@shared.model
@shared.features
@attach(
    option(
        "--layer",
        section="Attention",
        type=click.IntRange(min=1),
        metavar="N",
        help="Layer of the temporal encoder, from 1 [default: the last].",
    ),
    option(
        "--head",
        section="Attention",
        type=click.IntRange(min=1),
        metavar="N",
        help="Attention head, from 1 [default: the mean over all].",
    ),
    option(
        "--top",
        section="Attention",
        type=click.IntRange(min=1),
        default=5,
        show_default=True,
        metavar="K",
        help="Number of strongest moments to list.",
    ),
    shared.output_dir("Write an image (PNG) and all attention weights (JSON) here."),
    shared.overwrite,
)
@shared.as_json
@shared.time_range
@shared.sampling("the model's own")
@running.runtime
@running.messages
@click.pass_obj
def attention(console: Console, /, **values: Any) -> ExitCode:
    """Show which moments of INPUTS their class depends on: the attention of the [CLS] token.

    A number such as 8.4x compares a moment with attention spread evenly over the video.
    """
    inputs = resolve(values)
    if values["output_dir"] is not None:
        require_file(inputs, "--output-dir")
    if values["features"] is not None and len(inputs.items) != 1:
        raise UsageError("--features is for one video: name one input")
    from vtnstream.inference.request import Request

    request = Request(
        sampling=shared.sampling_from(values, None),
        start=values["start"],
        end=values["end"],
        features=values["features"],
        stream=values["stream"],
    )
    answers = Answers(values["model"], request, None, running.runtime_from(values))
    temporal = answers.config.temporal
    layer = _number(values["layer"], temporal.num_layers, "--layer", "layers")
    head = _number(values["head"], temporal.num_heads, "--head", "heads")
    names = output_names(item.path for item in inputs.items)
    many = len(inputs.items) > 1

    def work(path: str, progress: CommandProgress) -> Partial | None:
        if values["output_dir"] is not None:
            _check_targets(path, values["output_dir"], names[path], values["overwrite"])
        report, found = answers.attention(path, progress)
        row = found.row(-1 if layer is None else layer, head)
        shown = _AttentionResult.of(report, found, row, values["top"])
        if values["output_dir"] is not None:
            for file in shown.write(values["output_dir"], names[path], values["stream"]):
                console.say(f"wrote {file}")
        if values["json"]:
            console.out(shown.json().rstrip("\n"))
        else:
            with console.writing():
                shown.print()
        for warning in report.warnings:
            console.warn(f"{path}: {warning}")
        return report.partial

    if values["json"] and many:
        raise UsageError("--json prints one document: name one input, or write files with -o DIR")
    return for_each(inputs, work, console)


def _check_targets(path: str, directory: Path, base: str, overwrite: bool) -> None:
    """Check that the files of a video may be written.

    Raises:
        OutputError: a file of another origin exists and ``overwrite`` is False.
    """
    from vtnstream.replacing import check_target

    for suffix in (_IMAGE, _WEIGHTS):
        target = directory / file_name(base, suffix)
        check_target(target, sources=[path], overwrite=overwrite, remembered=True)


def _number(value: int | None, count: int, flag: str, what: str) -> int | None:
    """Convert a number that counts from 1 on the command line to an index from 0.

    Raises:
        UsageError: the model has fewer.
    """
    if value is None:
        return None
    if value > count:
        raise UsageError(f"{flag} {value}: the model has {count} {what}")
    return value - 1


class _AttentionResult:
    """The attention of one video, ready to be printed and written."""

    def __init__(
        self,
        report: Report,
        found: AttentionMap,
        multiples: FloatArray,
        moments: list[Moment],
    ) -> None:
        from vtnstream.localization.curves import time_curve

        self.report, self.found = report, found
        self.multiples, self.moments = multiples, moments
        self.curve = time_curve(found.times, multiples)

    @classmethod
    def of(cls, report: Report, found: AttentionMap, row: FloatArray, top: int) -> Self:
        from vtnstream.localization.curves import relative_weights
        from vtnstream.localization.moments import top_moments

        multiples = relative_weights(row)
        return cls(report, found, multiples, top_moments(found.times, row, multiples, count=top))

    def print(self) -> None:
        from vtnstream.report.attention import print_attention
        from vtnstream.report.terminal.render import print_report

        out = terminal()
        # The strip below shows the requested layer and head.
        print_report(dataclasses.replace(self.report, attention=None), out, top_k=3)
        out.print()
        print_attention(self.curve, self.moments, out)

    def json(self) -> str:
        from vtnstream.report.attention import attention_json

        return attention_json(self.report, self.found, self.moments)

    def write(self, directory: Path, base: str, stream: int | None) -> list[Path]:
        """Write the image and the attention weights.

        Raises:
            OutputError: the directory or a file cannot be written.
        """
        from vtnstream.atomic import whole_file
        from vtnstream.replacing import announce, remember

        contents = {_IMAGE: self._image(stream), _WEIGHTS: self.json().encode()}
        files = []
        for suffix, data in contents.items():
            target = directory / file_name(base, suffix)
            try:
                directory.mkdir(parents=True, exist_ok=True)
                with whole_file(target, partial(announce, target=target)) as file:
                    file.write(data)
            except OSError as error:
                raise OutputError(f"{target}: cannot be written ({error.strerror})") from error
            files.append(target)
        remember(files)
        return files

    def _image(self, stream: int | None) -> bytes:
        """Draw a PNG of evenly spaced frames, some of them replaced by frames of the strongest
        moments."""
        import numpy as np

        from vtnstream.video.stills import stills
        from vtnstream.visualize.attention import attention_picture

        times = self.found.times
        middles = (times.start_seconds + times.end_seconds) / 2
        count = min(_NUM_STILLS, len(middles))
        picks = np.linspace(0, len(middles) - 1, count).round().astype(int)
        for moment in self.moments[: count // 2]:
            token = int(np.abs(times.start_seconds - moment.start).argmin())
            picks[np.abs(picks - token).argmin()] = token
        picks = np.unique(picks)
        seconds = [float(times.start_seconds[i]) for i in picks]
        return attention_picture(
            stills(self.report.input, seconds, height=_STILL_HEIGHT, stream=stream),
            seconds,
            [float(self.multiples[i]) for i in picks],
            self.curve,
        )
