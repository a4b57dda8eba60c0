"""``vtnstream plan``: estimate the cost of a run."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.progress import CommandProgress
from vtnstream.cli.framework.tables import print_facts
from vtnstream.cli.framework.types import format_size
from vtnstream.cli.options import running, shared
from vtnstream.cli.options.backbone import Encoding, backbone_options, prepare_encoding
from vtnstream.cli.options.input_list import resolve
from vtnstream.cli.session import for_each
from vtnstream.config.shipped import bundled_model
from vtnstream.timecode import format_time
from vtnstream.video.local_copy import local_copy

if TYPE_CHECKING:
    from vtnstream.inference.plan import Plan

_MARGIN = 1.35
"""Room for the compiler. Peaks of runs without a compiler, or with an engine that was stored, were
0.92 to 1.02 times the sum (six backbones, videos of 160x120 and 1920x1080). A run that first
compiled an engine had a peak of 1.32 times, the largest of its processes and of the compiler's."""

_EXAMPLES = """
vtnstream plan movie.mkv
vtnstream plan movie.mkv --model models/surgery
vtnstream plan recordings/ --recursive --backbone resnet50 --fps 1
vtnstream plan movie.mkv --json | jq .seconds
"""


@click.command(cls=Command, examples=_EXAMPLES, stores_features=False)
@shared.inputs
@shared.model
@backbone_options
@shared.time_range
@shared.sampling("the model's own; with --backbone 2")
@shared.as_json
@running.runtime
@running.messages
@click.pass_obj
def plan(console: Console, /, **values: Any) -> ExitCode:
    """Estimate the frames, memory, disk space and time of a run over INPUTS.

    Counts come from the header of each file; the time is measured with the real decoder and
    backbone on the first frames.
    """
    inputs = resolve(values)
    if values["model"] is None and values["backbone"] is None:
        values["model"] = str(bundled_model())
    encoding = prepare_encoding(values, console)
    documents: list[dict[str, Any]] = []

    def work(path: str, progress: CommandProgress) -> None:
        with local_copy(path, progress, running.runtime_from(values).spool_limit_bytes) as place:
            result = _plan(place, encoding, values)
        if values["json"]:
            documents.append(_document(path, result))
        else:
            print_facts(console, _facts(path, result))

    code = for_each(inputs, work, console)
    if values["json"] and (documents or not inputs.single):
        console.out(json.dumps(documents[0] if inputs.single else documents, indent=2))
    return code


def _plan(path: str | Path, encoding: Encoding, values: dict[str, Any]) -> Plan:
    from vtnstream.inference.plan import plan as estimate
    from vtnstream.inference.request import time_range

    config = encoding.config
    sizes: dict[str, int] = {}
    if config is not None:
        head = config.head
        hidden_size = config.temporal.hidden_size or encoding.encoder.num_features
        sizes = {
            # A ViViT reads clips one by one and keeps no states of the whole video.
            "hidden_size": 0 if config.vivit is not None else hidden_size,
            "num_classes": len(head.dense_labels or head.labels),
            "weights_bytes": encoding.weights_bytes,
        }
    return estimate(
        path,
        encoding.encoder,
        encoding.sampling,
        span=time_range(path, values["start"], values["end"], values["stream"]),
        runtime=running.runtime_from(values),
        stream=values["stream"],
        **sizes,
    )


def _document(path: str, plan: Plan) -> dict[str, Any]:
    duration = plan.info.duration_from_header
    return {
        "input": path,
        "duration_seconds": None if duration is None else float(duration),
        "frames": plan.num_frames,
        "tokens": plan.num_tokens,
        "stored_tokens": plan.num_stored_tokens,
        "disk_bytes": plan.disk_bytes,
        "pipeline_bytes": plan.pipeline_bytes,
        "temporal_bytes": plan.temporal_bytes,
        "weights_bytes": plan.weights_bytes,
        "process_bytes": _process_bytes(plan),
        "tokens_per_second": plan.frames_per_second,
        "runtime": plan.runtime.as_dict(),
        "seconds": plan.seconds,
    }


def _process_bytes(plan: Plan) -> int:
    """Return the memory of a process that runs this plan.

    It is the peak of the current process, which has loaded the same libraries and weights and
    encoded a sample, plus the memory that grows with the video.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if sys.platform == "darwin" else 1024
    margin = _MARGIN if plan.compiles else 1.0
    return round(margin * (peak + plan.pipeline_bytes + (plan.temporal_bytes or 0)))


def _facts(path: str, plan: Plan) -> list[tuple[str, str]]:
    duration = plan.info.duration_from_header
    unknown = "unknown (the header does not say)"
    stored = f", {plan.num_stored_tokens:,} of them stored" if plan.num_stored_tokens else ""
    tokens = unknown if plan.num_tokens is None else f"{plan.num_tokens:,}{stored}"
    parts = [
        (plan.pipeline_bytes, "frames"),
        (plan.weights_bytes, "weights"),
        (plan.temporal_bytes, "tokens and scores"),
    ]
    memory = ", ".join(f"{format_size(size)} {what}" for size, what in parts if size)
    memory = f"{format_size(_process_bytes(plan))} for the whole process ({memory})"
    runtime = plan.runtime
    backbone = f"{runtime.backend}, {runtime.dtype} on {runtime.device}"
    rate = f"at {plan.frames_per_second:,.1f} frames/s"
    return [
        ("video", path),
        ("length", unknown if duration is None else format_time(duration)),
        ("frames", unknown if plan.num_frames is None else f"{plan.num_frames:,}"),
        ("tokens", tokens),
        ("memory", memory),
        ("backbone", f"{backbone}; {runtime.reason}"),
        ("disk", unknown if plan.disk_bytes is None else format_size(plan.disk_bytes)),
        ("time", rate if plan.seconds is None else f"{format_time(plan.seconds, digits=0)} {rate}"),
    ]
