"""``vtnstream classify``: the class of a whole video."""

from __future__ import annotations

from typing import Any

import click

from vtnstream.cli.analysis import analyze_inputs
from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.options import labels, running, shared

_EXAMPLES = """
vtnstream classify *.mp4 --labels "indoors; outdoors"
vtnstream classify surgery.mp4 --model models/surgery
vtnstream classify a.mp4 b.mkv recordings/ --recursive --top-k 3
vtnstream classify match.mp4 --start 45:00 --end 1:30:00 --json
find . -name '*.mp4' -print0 | vtnstream classify -0 - --jsonl
vtnstream classify movie.mkv --num-frames 250 -o results -f json,csv
vtnstream classify clip.mp4 --model vtn-vit-b-kinetics --views 10x3
"""


@click.command(cls=Command, examples=_EXAMPLES)
@shared.inputs
@shared.model
@shared.analysis
@labels.labels
@shared.views
@shared.reference
@shared.time_range
@shared.sampling("the model's own")
@shared.results
@running.runtime
@running.messages
@click.pass_obj
def classify(console: Console, /, **values: Any) -> ExitCode:
    """Classify each of INPUTS, with a score for every class.

    INPUTS are videos of any length, directories, patterns, or - for names on standard input.
    The model reads all sampled frames of a video in one pass over the whole sequence.
    """
    if values["labels"] is not None:
        return labels.label_inputs(console, values, None)
    labels.check_unlabelled(values)
    return analyze_inputs(console, values, None)
