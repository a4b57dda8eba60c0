"""Label names: their order, and files of labels."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path

from vtnstream.errors import AnnotationError

BACKGROUND = "background"
"""Label of time without an annotation; by default it does not become a segment."""


def normal_form(text: str) -> str:
    """Return a label or file name in Unicode normal form (NFC), whatever the coding of its
    accents."""
    return unicodedata.normalize("NFC", text)


def stable_order(labels: Iterable[str], *, background: bool = False) -> tuple[str, ...]:
    """Return the distinct labels in alphabetical order, or numerical order if all are whole
    numbers.

    The label ``background`` comes first, if it is one of them.
    """
    distinct = set(labels) - {BACKGROUND} if background else set(labels)
    numbers = all(label.isdecimal() for label in distinct)
    names = sorted(distinct, key=lambda label: (int(label) if numbers else 0, label))
    return (BACKGROUND, *names) if background else tuple(names)


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Read labels from a text file, one per line, in the order of the file.

    Raises:
        AnnotationError: the file cannot be read, is empty, or names a label twice.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{path}: labels cannot be read ({error})") from error
    names = [normal_form(line.strip()) for line in lines if line.strip()]
    seen: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if name in seen:
            raise AnnotationError(f"{path}: line {number} repeats label {name!r}")
        seen[name] = number
    if not names:
        raise AnnotationError(f"{path}: has no labels: write one per line")
    return tuple(names)
