"""``vtnstream timeline``: labelled segments of a video."""

from __future__ import annotations

from typing import Any

import click

from vtnstream.cli.analysis import analyze_inputs
from vtnstream.cli.follow import follow_input, follow_options
from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.options import labels, running, shared

_EXAMPLES = """
vtnstream timeline movie.mkv --window 64
vtnstream timeline surgery.mp4 --model models/surgery --smoothing median --min-duration 5
vtnstream timeline match.mp4 --localize both --viterbi 4 --json > match.json
vtnstream timeline recordings/ --recursive -o results -f json,csv
vtnstream timeline movie.mkv -o results -f json,images,contact-sheet,stats
vtnstream timeline https://example.org/match.mp4 --window 64
vtnstream timeline match.mp4 --labels "goal; corner; replay" --viterbi 2
vtnstream timeline match2.mp4 --labels labels.txt --model models/match
vtnstream timeline recording.ts --follow --labels "goal; corner" --smoothing median
vtnstream timeline recording.ts --follow --window 32 | jq -c 'select(.final)'
vtnstream timeline movie.mkv --features movie.safetensors --window 32 --stride 8
"""


@click.command(cls=Command, examples=_EXAMPLES)
@shared.inputs
@shared.model
@shared.analysis
@labels.labels
@shared.timeline
@follow_options
@shared.time_range
@shared.sampling("the model's own")
@shared.results
@running.runtime
@running.messages
@click.pass_obj
def timeline(console: Console, /, **values: Any) -> int:
    """Find labelled segments in each of INPUTS, with their times in seconds of the video.

    INPUTS are videos of any length, directories, patterns, or - for names on standard input.
    Features are stored, so that another window, threshold or head decodes nothing.

    With --labels, words or examples take the place of a trained model: scores are matches then,
    not probabilities.

    With --follow, one input is read as it arrives: a growing file, - for a pipe, a live HLS
    playlist, rtsp:// or tcp://. Each line is a segment; one with "final": true will not change.
    """
    localize = shared.timeline_from(values)
    if values["labels"] is None:
        labels.check_unlabelled(values)
    if values["follow"]:
        return follow_input(console, values, localize)
    if values["labels"] is not None:
        return labels.label_inputs(console, values, localize)
    return analyze_inputs(console, values, localize)
