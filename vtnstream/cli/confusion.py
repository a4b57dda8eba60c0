"""Confusion of classes in the terminal and as an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
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
    letters = [chr(ord("A") + number) for number in range(len(labels))]
    rows = []
    for letter, label, row in zip(letters, labels, counts, strict=True):
        total = sum(row)
        cells = [f"{100 * n / total:.0f}" if n else "." for n in row] if total else ["-"] * len(row)
        rows.append([*cells, f"{letter} {label}"])
    print_table(console, [*letters, "truth, % answered as"], rows, right=letters)


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
        OutputError: it cannot be written, exists already, or there is no matrix.
    """
    from vtnstream.visualize.confusion import confusion_image

    if not confusion:
        raise OutputError(f"{path}: segments overlap, so there is no confusion matrix to draw")
    if path.exists():
        raise OutputError(f"{path}: exists already; name another file")
    try:
        with whole_file(path) as file:
            file.write(confusion_image(confusion["labels"], confusion["counts"]))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
