"""Confusion of classes in the terminal and as an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from vtnstream.atomic import whole_file
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.tables import print_table
from vtnstream.errors import OutputError

_MOST_SHOWN = 12
"""Classes of a matrix that fits a terminal; of more, the most frequent confusions are listed."""


def print_confusion(console: Console, confusion: Mapping[str, Any]) -> None:
    """Print the matrix in percent of each true class, or the most frequent confusions.

    Args:
        console: where to.
        confusion: ``labels`` (K) and ``counts`` (K, K), row is the truth; may be empty.
    """
    if not confusion:
        return
    labels: Sequence[str] = confusion["labels"]
    counts: Sequence[Sequence[int]] = confusion["counts"]
    console.out("")
    if len(labels) > _MOST_SHOWN:
        _print_mistakes(console, labels, counts)
        return
    # A class that the truth lacks has no row that explains a letter, so its column has its name.
    letters = iter(ascii_uppercase)
    true = [sum(row) > 0 for row in counts]
    heads = [
        next(letters) if is_true else label for is_true, label in zip(true, labels, strict=True)
    ]
    shown = [n for n in range(len(labels)) if true[n] or any(row[n] for row in counts)]
    rows = []
    for number in (n for n in shown if true[n]):
        row = counts[number]
        cells = [f"{100 * row[n] / sum(row):.0f}" if row[n] else "." for n in shown]
        rows.append([*cells, f"{heads[number]} {labels[number]}"])
    columns = [heads[n] for n in shown]
    print_table(console, [*columns, "truth, % answered as"], rows, right=columns)


def _print_mistakes(
    console: Console, labels: Sequence[str], counts: Sequence[Sequence[int]]
) -> None:
    mistakes = [
        (count, labels[i], labels[j])
        for i, row in enumerate(counts)
        for j, count in enumerate(row)
        if i != j and count
    ]
    if mistakes:
        rows = [[str(n), a, b] for n, a, b in sorted(mistakes, key=lambda m: -m[0])[:10]]
        print_table(console, ["times", "is", "called"], rows, right=["times"])


def write_confusion(path: Path, confusion: Mapping[str, Any]) -> None:
    """Write the matrix as a PNG.

    Raises:
        OutputError: it cannot be written, or there is no matrix.
    """
    from vtnstream.visualize.confusion import confusion_image

    if not confusion:
        raise OutputError(f"{path}: segments overlap, so there is no confusion matrix to draw")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(confusion_image(confusion["labels"], confusion["counts"]))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
