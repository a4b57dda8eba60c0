"""Reports as CSV and TSV: one row a segment, or one a class where there is no timeline.

The first row names the columns. Fields are quoted where they must be (RFC 4180), lines end
with a line feed. Labels are written as they are: a spreadsheet may take one that starts with
``=`` for a formula.
"""

from __future__ import annotations

import math

from vtnstream.types import Report


def report_csv(report: Report) -> str:
    """Comma-separated values."""
    return _table(report, ",")


def report_tsv(report: Report) -> str:
    """Tab-separated values."""
    return _table(report, "\t")


def _table(report: Report, delimiter: str) -> str:
    rows: list[tuple[str, ...]]
    if report.segments is None:
        rows = [("label", "score"), *((c.label, _number(c.score)) for c in report.classes)]
    else:
        tracks = any(s.track is not None for s in report.segments)
        columns: tuple[str, ...] = ("start", "end", "label", "score", "track")
        rows = [columns] + [
            (_number(s.start), _number(s.end), s.label, _number(s.score), s.track or "")
            for s in report.segments
        ]
        rows = rows if tracks else [row[:-1] for row in rows]
    return "".join(delimiter.join(_field(f, delimiter) for f in row) + "\n" for row in rows)


def _field(text: str, delimiter: str) -> str:
    """Quoted where it must be. The csv module leaves a lone carriage return bare when lines
    end with a line feed, and then cannot read its own file."""
    if any(character in text for character in (delimiter, '"', "\r", "\n")):
        doubled = text.replace('"', '""')
        return f'"{doubled}"'
    return text


def _number(value: float) -> str:
    """Plain decimals, rounded to 1e-6; empty where there is no number."""
    if not math.isfinite(value):
        return ""
    digits = f"{value + 0.0:.6f}".rstrip("0").rstrip(".")
    return "0" if digits == "-0" else digits
