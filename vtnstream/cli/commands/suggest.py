"""``vtnstream suggest``: the spans of videos whose label should teach a model most."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vtnstream.atomic import whole_file
from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.fields import attach, option
from vtnstream.cli.framework.process_settings import loading
from vtnstream.cli.framework.progress import CommandProgress
from vtnstream.cli.framework.tables import print_table
from vtnstream.cli.framework.types import FileType, complete_files
from vtnstream.cli.options import running, shared
from vtnstream.cli.options.input_list import resolve
from vtnstream.cli.session import for_each
from vtnstream.errors import OutputError, UsageError
from vtnstream.replacing import check_target
from vtnstream.timecode import format_time
from vtnstream.wording import plural

if TYPE_CHECKING:
    from vtnstream.localization.informative import Candidate, Suggestion
    from vtnstream.types import Partial, Thumbnail

_EXAMPLES = """
vtnstream suggest new/*.mp4 --model my-model -o to-label.csv --page to-label.html
vtnstream suggest recordings/ --recursive --model my-model --labelled labels.csv --count 40
"""
_SECTION = "Suggestions"
_MODEL = option(
    "--model",
    "-m",
    shell_complete=complete_files,
    section="Model",
    metavar="MODEL",
    help="Model to be improved: a folder, or a name on the Hugging Face Hub.",
)


@click.command(cls=Command, examples=_EXAMPLES)
@shared.inputs
@attach(_MODEL)
@attach(
    option(
        "--count",
        "-n",
        section=_SECTION,
        type=click.IntRange(min=1),
        default=20,
        show_default=True,
        metavar="N",
        help="Suggest at most N spans.",
    ),
    option(
        "--length",
        section=_SECTION,
        type=click.FloatRange(min=0, min_open=True),
        default=10.0,
        show_default=True,
        metavar="SECONDS",
        help="Length of a span.",
    ),
    option(
        "--labelled",
        section=_SECTION,
        settable=False,
        shell_complete=complete_files,
        metavar="FILE",
        help="Leave out spans that these annotations label.",
    ),
    option(
        "--output",
        "-o",
        section="Output",
        settable=False,
        type=FileType(),
        metavar="FILE",
        help="CSV to write: path, start, end, an empty label, guess, score and uncertainty.",
    ),
    option(
        "--page",
        section="Output",
        settable=False,
        type=FileType(),
        metavar="FILE",
        help="HTML page to write, with a frame of each span and links into the videos.",
    ),
    shared.overwrite,
)
@shared.as_json
@running.runtime
@running.messages
@click.pass_obj
def suggest(console: Console, /, **values: Any) -> ExitCode:
    """Find the spans of INPUTS whose label should teach a model most.

    These are spans that look like as much as possible of what the model is undecided about, and
    unlike those suggested before. Label them, add them to the annotations, and train again with
    `--unlabelled ignore`, because the rest of these videos has no label.
    """
    if values["model"] is None:
        raise UsageError("no model: name the one to be improved with --model")
    inputs = resolve(values)
    targets = [values[name] for name in ("output", "page") if values[name] is not None]
    for target in targets:
        check_target(
            target, sources=[item.path for item in inputs.items], overwrite=values["overwrite"]
        )
    labelled = _labelled(values["labelled"])
    with loading():
        from vtnstream.analyzer import Analyzer
        from vtnstream.inference.request import Request
        from vtnstream.localization.informative import CandidatePool, choose_spans

        analyzer = Analyzer(values["model"], runtime=running.runtime_from(values))
    pool = CandidatePool()

    def work(path: str, progress: CommandProgress) -> Partial | None:
        spans = labelled.get(os.path.realpath(path), [])
        found = analyzer.spans_to_label(path, Request(), values["length"], progress=progress)
        pool.add(one for one in found if not _overlaps(one, spans))
        return None

    code = for_each(inputs, work, console)
    chosen = choose_spans(pool.kept, values["count"])
    if not chosen:
        raise UsageError("no span is left to label in these videos")
    if len(chosen) < values["count"]:
        spans = plural(len(chosen), "span")
        console.say(f"these videos hold only {spans} of up to {values['length']:g} s to label")
    _deliver(console, chosen, analyzer.config.name, values)
    return code


def _labelled(path: str | None) -> dict[str, list[tuple[float, float]]]:
    """Return the annotated spans of each video; a class of a whole video has no end."""
    from vtnstream.datasets.annotations import read_annotations

    found: dict[str, list[tuple[float, float]]] = {}
    if path is None:
        return found
    for video in read_annotations(path, check_files=False).videos:
        spans = found.setdefault(os.path.realpath(video.path), [])
        for item in video.annotations:
            if not item.is_segment:
                spans.append((0.0, float("inf")))
                continue
            if not isinstance(item.start, Fraction) or not isinstance(item.end, Fraction):
                raise UsageError(f"{path}: --labelled takes times in seconds, not in frames")
            spans.append((float(item.start), float(item.end)))
    return found


def _overlaps(one: Candidate, spans: Sequence[tuple[float, float]]) -> bool:
    """Return whether at least half of a span is labelled."""
    inside = sum(max(min(one.end, end) - max(one.start, start), 0.0) for start, end in spans)
    return inside >= (one.end - one.start) / 2


def _deliver(
    console: Console, chosen: Sequence[Suggestion], model: str, values: dict[str, Any]
) -> None:
    """Write the files, and print the table or JSON."""
    if values["output"] is not None:
        _write(values["output"], _csv(chosen, values["output"].parent))
    if values["page"] is not None:
        from vtnstream.report.page.suggestions import suggestions_page

        page: Path = values["page"]
        _write(page, suggestions_page(chosen, _thumbnails(chosen), model, page.parent))
    if values["json"]:
        rows = [{**dataclasses.asdict(one), "path": str(one.path)} for one in chosen]
        console.out(json.dumps({"schema": "vtnstream/suggestions/1", "spans": rows}, indent=2))
        return
    columns = ["rank", "from", "to", "guess", "score", "uncertainty", "video"]
    rows_of_text = [
        [
            str(one.rank),
            format_time(one.start, digits=1),
            format_time(one.end, digits=1),
            one.guess,
            f"{one.score:.2f}",
            f"{one.uncertainty:.2f}",
            str(one.path),
        ]
        for one in chosen
    ]
    print_table(
        console, columns, rows_of_text, right=["rank", "from", "to", "score", "uncertainty"]
    )
    console.say(
        "label these spans, add them to the annotations, and train again with --unlabelled ignore"
    )


def _csv(chosen: Sequence[Suggestion], folder: Path) -> str:
    """Return the table to be completed; paths are relative to its folder where possible."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "start", "end", "label", "guess", "score", "uncertainty"])
    for one in chosen:
        try:
            path = os.path.relpath(one.path, folder)
        except ValueError:  # another drive
            path = str(one.path)
        writer.writerow(
            [
                path if os.path.exists(one.path) else str(one.path),
                f"{one.start:.3f}",
                f"{one.end:.3f}",
                "",
                one.guess,
                f"{one.score:.3f}",
                f"{one.uncertainty:.3f}",
            ]
        )
    return text.getvalue()


def _thumbnails(chosen: Sequence[Suggestion]) -> list[Thumbnail | None]:
    """Return a frame of each span, or None for a video that is not a local file."""
    from vtnstream.video.thumbnails import thumbnails

    found: list[Thumbnail | None] = [None] * len(chosen)
    for path in dict.fromkeys(one.path for one in chosen):
        places = [n for n, one in enumerate(chosen) if one.path == path]
        if not path.is_file():
            continue
        spans = [(chosen[n].start, chosen[n].end) for n in places]
        for place, picture in zip(places, thumbnails(path, spans), strict=True):
            found[place] = picture
    return found


def _write(path: Path, text: str) -> None:
    """Write a file.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
