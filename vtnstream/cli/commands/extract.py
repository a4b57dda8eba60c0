"""``vtnstream extract``: write the features of videos to files."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vtnstream.cli.ahead import Ahead
from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.fields import attach, option
from vtnstream.cli.framework.progress import CommandProgress
from vtnstream.cli.options import running, shared
from vtnstream.cli.options.backbone import backbone_options, prepare_encoding
from vtnstream.cli.options.input_list import InputList, resolve
from vtnstream.cli.session import for_each
from vtnstream.errors import UsageError
from vtnstream.progress import Progress
from vtnstream.replacing import announce, check_folder, check_target, remember
from vtnstream.report.naming import file_name, output_names
from vtnstream.wording import plural

if TYPE_CHECKING:
    from vtnstream.types import Partial, Report

_EXAMPLES = """
vtnstream extract movie.mkv --backbone deit_tiny_patch16_224 --pretrained -o movie.safetensors
vtnstream extract recordings/ --recursive --model models/surgery -o features/
vtnstream extract match.mp4 --backbone mobilenetv2_100 --backbone-arg pad_type=same \\
    --weights mobilenet.safetensors --mean .5 --std .5 --fps 2 -o match.safetensors
"""
_SUFFIX = ".safetensors"


@click.command(cls=Command, examples=_EXAMPLES)
@shared.inputs
@shared.model
@backbone_options
@shared.time_range
@shared.sampling("the model's own; with --backbone 2")
@attach(
    option(
        "--output",
        "-o",
        section="Output",
        settable=False,
        metavar="FILE",
        help="Feature file to write: .safetensors, .npy or .npz; a directory for several inputs.",
    ),
    shared.overwrite,
)
@shared.as_json
@running.runtime
@running.messages
@click.pass_obj
def extract(console: Console, /, **values: Any) -> ExitCode:
    """Compute the backbone features of INPUTS and write them to files.

    A safetensors file holds features (T, D), start_seconds, end_seconds, pts and indices; its
    metadata describes the video, backbone and sampling. `classify` and `timeline` read it with
    --features. FILE.npz holds features, start_seconds and end_seconds for numpy, FILE.npy the
    features alone.
    """
    inputs = resolve(values)
    outputs = _outputs(inputs, values["output"])
    encoding = prepare_encoding(values, console)
    documents: list[dict[str, Any]] = []
    from vtnstream.encoding.engines.state import EngineState
    from vtnstream.inference.request import Request

    engines = EngineState()
    request = Request(start=values["start"], end=values["end"], stream=values["stream"])

    runtime = running.runtime_from(values)

    def extracted(path: str, progress: Progress) -> Report:
        from vtnstream.inference.extract_file import extract_to_file

        target, replace = outputs[path], values["overwrite"]
        check_target(
            target, sources=[item.path for item in inputs.items], overwrite=replace, remembered=True
        )
        return extract_to_file(
            path,
            encoding.encoder,
            encoding.sampling,
            target,
            request=request,
            runtime=runtime,
            progress=progress,
            engines=engines,
            before_rename=partial(announce, target=target),
        )

    def work(path: str, progress: CommandProgress) -> Partial | None:
        target = outputs[path]
        report = ahead.result(path, progress)
        remember([target])
        for warning in report.warnings:
            console.warn(f"{path}: {warning}")
        if values["json"]:
            documents.append(_document(report))
        else:
            console.out(_line(report, target))
        return report.partial

    with Ahead(extracted, inputs.items) as ahead:
        if ahead.is_used:
            encoding.encoder.share_threads(runtime, engines)
        code = for_each(inputs, work, console)
    if values["json"] and (documents or not inputs.single):
        console.out(json.dumps(documents[0] if inputs.single else documents, indent=2))
    return code


def _outputs(inputs: InputList, output: str | None) -> dict[str, Path]:
    """Return the feature file of each input; two inputs never share a file.

    Raises:
        UsageError: no output is named, its suffix is unknown, or it is a file but there are several
            inputs.
        OutputError: no file can be written there.
    """
    if output is None:
        raise UsageError("no output: name it with -o FILE.safetensors (a directory for several)")
    place = Path(output)
    directory = place.is_dir() or not inputs.single or output.endswith(os.sep)
    paths = [item.path for item in inputs.items]
    if not directory:
        from vtnstream.features.file import check_suffix

        check_suffix(place)
        check_folder(place.parent, place)
        place.parent.mkdir(parents=True, exist_ok=True)
        return {paths[0]: place}
    if place.exists() and not place.is_dir():
        raise UsageError(f"{output}: is a file, but several inputs need a directory: name one")
    check_folder(place)
    place.mkdir(parents=True, exist_ok=True)
    names = output_names(paths)
    return {path: place / file_name(names[path], _SUFFIX) for path in paths}


def _document(report: Report) -> dict[str, Any]:
    partial = report.partial
    return {
        "input": report.input,
        "output": report.run["output"],
        "tokens": report.run["tokens"],
        "features": report.run["features"],
        "start": report.start_seconds,
        "end": report.end_seconds,
        "model": dict(report.model),
        "sampling": dict(report.sampling),
        "partial": None if partial is None else list(partial.reasons),
        "run": dict(report.run),
    }


def _line(report: Report, output: Path) -> str:
    run = report.run
    decoded = f"{plural(run['frames_decoded'], 'frame')} decoded"
    source = "from the cache" if run["from_store"] else decoded
    return f"{output}: {plural(run['tokens'], 'token')} x {run['features']} features, {source}"
