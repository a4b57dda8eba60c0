"""``vtnstream batch``: process thousands of videos, with one status line each."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from typing import Any

import click

from vtnstream.batch.status import Summary, latest, open_log
from vtnstream.batch.storage import open_storage
from vtnstream.batch.workers.executors import FEATURES_SUFFIX
from vtnstream.batch.workers.outcome import FAILED
from vtnstream.cli.commands.classify import classify as classify_one
from vtnstream.cli.commands.extract import extract as extract_one
from vtnstream.cli.commands.timeline import timeline as timeline_one
from vtnstream.cli.delivery import DEFAULT_FORMATS
from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console, visible
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.fields import attach, option
from vtnstream.cli.framework.types import complete_files
from vtnstream.cli.options import batch as batch_options
from vtnstream.cli.options import running, shared
from vtnstream.cli.options.backbone import require_backbone
from vtnstream.cli.options.batch import batch_command
from vtnstream.cli.result_files import ResultFiles
from vtnstream.config import TimelineConfig


@click.group()
def batch() -> None:
    """Process thousands of videos, overnight or on several machines.

    Each video adds one line to OUT/status.jsonl, whether it succeeds or fails. Run the same
    command again to process only the videos that are missing.
    """


_TIMELINE_EXAMPLES = """
vtnstream batch timeline recordings/ --recursive --model models/surgery -o results
vtnstream batch timeline --files-from list.txt -o results -f json,csv --workers 4 --timeout 2:00:00
vtnstream batch timeline recordings/ -r -o results --retry-failed --jsonl | jq .status
sbatch --array=0-9 --wrap 'vtnstream batch timeline recordings/ -r -o results --shard auto'
"""
_CLASSIFY_EXAMPLES = """
vtnstream batch classify recordings/ --recursive --model models/surgery -o results --top-k 3
find /archive -name '*.mp4' -print0 | vtnstream batch classify -0 - -o results
"""
_EXTRACT_EXAMPLES = """
vtnstream batch extract recordings/ --recursive --model models/surgery -o features
vtnstream batch extract recordings/ -r --backbone resnet50 --pretrained --shard 3/10 -o features
"""
_STATUS_EXAMPLES = """
vtnstream batch status results
vtnstream batch status results --failed
vtnstream batch status results --jsonl | jq -r 'select(.code == "timeout").path'
"""


def _analyze(console: Console, values: dict[str, Any], localize: TimelineConfig | None) -> ExitCode:
    from vtnstream.report.formats import every_writer

    files = ResultFiles.of(
        values["format"] or DEFAULT_FORMATS, console, timeline=localize is not None
    )
    make_executor = partial(
        batch_options.make_analysis_executor, values, localize, files.formats, files.every
    )
    suffixes = tuple(every_writer()[name].suffix for name in files.formats)
    return batch_options.run(console, values, make_executor, suffixes)


@batch_command(batch, timeline_one, _TIMELINE_EXAMPLES)
def timeline(console: Console, /, **values: Any) -> ExitCode:
    """Find labelled segments in each of INPUTS and write the results to OUT.

    Videos that are complete with the same settings and model are skipped. A video that crashes,
    hangs or fills the memory of its worker fails without affecting the others.
    """
    return _analyze(console, values, shared.timeline_from(values))


@batch_command(batch, classify_one, _CLASSIFY_EXAMPLES)
def classify(console: Console, /, **values: Any) -> ExitCode:
    """Classify each of INPUTS and write the results to OUT.

    Videos that are complete with the same settings and model are skipped. A video that crashes,
    hangs or fills the memory of its worker fails without affecting the others.
    """
    return _analyze(console, values, None)


@batch_command(batch, extract_one, _EXTRACT_EXAMPLES)
def extract(console: Console, /, **values: Any) -> ExitCode:
    """Write the features of each of INPUTS to a file in OUT.

    Videos that are complete with the same settings and weights are skipped. A video that
    crashes, hangs or fills the memory of its worker fails without affecting the others.
    """
    require_backbone(values)
    make_executor = partial(batch_options.make_extract_executor, values)
    return batch_options.run(console, values, make_executor, (FEATURES_SUFFIX,))


@batch.command(cls=Command, examples=_STATUS_EXAMPLES)
@click.argument("out", shell_complete=complete_files)
@attach(
    option("--failed", section="Output", is_flag=True, settable=False, help="List failures only."),
    option(
        "--jsonl",
        section="Output",
        is_flag=True,
        help="Print the last status line of each video.",
    ),
)
@shared.as_json
@running.messages
@click.pass_obj
def status(console: Console, /, **values: Any) -> ExitCode:
    """Summarise the status lines in OUT over all runs and shards.

    The exit code is that of one run over all videos.
    """
    log = open_log(open_storage(values["out"]), None)
    lines = sorted(latest(log.lines()).values(), key=lambda line: line.path)
    summary = Summary.of(lines)
    shown = [line for line in lines if line.status == FAILED or not values["failed"]]
    if values["json"]:
        facts = {**dataclasses.asdict(summary), "total": summary.total}
        console.out(json.dumps(facts, indent=2))
    elif values["jsonl"]:
        for line in shown:
            console.out(line.as_json())
    else:
        for line in shown:
            if line.error is not None:
                console.out(f"{line.code}: {visible(line.error)}")
        console.out(summary.describe())
    return batch_options.exit_code(summary)
