"""Show attention over time: lines for a terminal, and a JSON document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from vtnstream.report.facts import percent
from vtnstream.report.terminal.canvas import Canvas
from vtnstream.report.terminal.heat import heat_strip
from vtnstream.report.terminal.strip import axis
from vtnstream.report.writers.structured import json_line, report_document
from vtnstream.timecode import format_span
from vtnstream.types import AttentionMap, Curve, Moment, Report

SCHEMA = "vtnstream/attention/1"


def attention_strip(curve: Curve, canvas: Canvas) -> list[Text]:
    """Draw a heat strip with its axis and its scale."""
    known = [value for value in curve.values if value is not None]
    lines = [heat_strip(curve, canvas, canvas.width)]
    if curve.end > curve.start:
        lines.append(axis((curve.start, curve.end), canvas.width, canvas.glyphs))
    times = canvas.glyphs.times
    scale = (
        "attention of [CLS]:",
        f"cold 0{times} to warm {max(known, default=0):.1f}{times} the average",
    )
    return [*lines, *canvas.flow([canvas.text(part, "dim") for part in scale], " ")]


def _attention_lines(curve: Curve, moments: Sequence[Moment], canvas: Canvas) -> list[Text]:
    """Draw :func:`attention_strip`, then list the strongest moments with their times."""
    lines = [*attention_strip(curve, canvas), Text()]
    times = canvas.glyphs.times
    digits = _digits(moments)
    for number, moment in enumerate(moments, 1):
        start, end, _ = format_span(moment.start, moment.end, digits=digits)
        span = f"{start} {canvas.glyphs.dash} {end}"
        row = f"{number:>3}  {span}  {moment.multiple:6.1f}{times}  {percent(moment.weight):>7}"
        lines.append(canvas.cut(canvas.text(row), canvas.width))
    return lines


def _digits(moments: Sequence[Moment]) -> int:
    """Return the decimals, at least one and at most three, with which every moment has a length."""
    for digits in (1, 2):
        spans = (format_span(m.start, m.end, digits=digits) for m in moments)
        if all(start != end for start, end, _ in spans):
            return digits
    return 3


def print_attention(curve: Curve, moments: Sequence[Moment], console: Console) -> None:
    """Print the attention and its strongest moments on a console."""
    for line in _attention_lines(curve, moments, Canvas.of(console)):
        console.print(line, highlight=False, overflow="ignore", crop=False)


def _attention_document(
    report: Report, attention: AttentionMap, moments: Sequence[Moment]
) -> dict[str, Any]:
    """Return the attention as plain JSON data.

    ``weights`` are indexed by [layer][head][token]; ``start`` and ``end`` of each token are in
    seconds.
    """
    whole = report_document(report)
    kept = ("input", "video", "model", "sampling", "range", "classes", "partial", "run")
    return {
        "schema": SCHEMA,
        **{name: whole[name] for name in kept},
        "moments": [
            {"start": m.start, "end": m.end, "weight": m.weight, "multiple": m.multiple}
            for m in moments
        ],
        "start": attention.times.start_seconds.tolist(),
        "end": attention.times.end_seconds.tolist(),
        "weights": [
            [[float(f"{w:.4g}") for w in head.tolist()] for head in layer]
            for layer in attention.weights
        ],
    }


def attention_json(report: Report, attention: AttentionMap, moments: Sequence[Moment]) -> str:
    """Return the document as one line of text.

    Weights keep four significant digits instead of six decimals, because they are small in long
    videos.
    """
    import json

    document = _attention_document(report, attention, moments)
    weights = document.pop("weights")
    head = json_line(document).rstrip("\n")
    return f'{head[:-1]}, "weights": {json.dumps(weights)}}}\n'
