"""Parse queries and labels: words, prompts, images and spans of videos.

A label has a name, prompts (text) and examples (an image, a video, or ``video@start-end``). On
one line it is written ``name = prompt | prompt | @example``. A line without ``=`` is a name that
is its own prompt; a line ``@example`` is an example named after its file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vtnstream.errors import UsageError
from vtnstream.labels import BACKGROUND
from vtnstream.suffixes import IMAGE_SUFFIXES
from vtnstream.transport.address import is_file_name

_TIME = r"\d[\d:.]*[sf]?"
_SPAN = re.compile(rf"(?P<path>.+)@(?P<start>{_TIME})-(?P<end>{_TIME})", re.DOTALL)
MAX_LABELS = 10_000
"""Labels of one question; more are refused."""


@dataclass(frozen=True, slots=True)
class Example:
    """An image, a whole video, or a span of one.

    Attributes:
        path: file or address.
        start, end: times as :func:`vtnstream.timecode.parse_time` reads them, or None.
    """

    path: str
    start: str | None = None
    end: str | None = None

    @property
    def is_image(self) -> bool:
        """Whether the file's extension is that of an image."""
        return os.path.splitext(self.path)[1].lower() in IMAGE_SUFFIXES

    def __str__(self) -> str:
        return self.path if self.start is None else f"{self.path}@{self.start}-{self.end}"


@dataclass(frozen=True, slots=True)
class Label:
    """A query or class: its name, and text or examples that describe it."""

    name: str
    prompts: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()


def parse_example(text: str, *, folder: str | Path | None = None) -> Example:
    """Parse ``goal.jpg``, ``match.mp4`` or ``match.mp4@12:30-12:41``.

    Args:
        text: the text of the user.
        folder: folder in which a relative path is looked up first (that of a labels file).

    Raises:
        UsageError: it is empty, or an image has a span.
    """
    text = text.strip()
    if not text:
        raise UsageError("an example is empty: name an image, a video or VIDEO@START-END")
    match = None if os.path.exists(text) else _SPAN.fullmatch(text)
    path = match["path"] if match else text
    if folder is not None and is_file_name(path) and not os.path.isabs(path):
        beside = os.path.join(folder, path)
        path = beside if os.path.exists(beside) else path
    example = Example(path, match["start"], match["end"]) if match else Example(path)
    if example.is_image and example.start is not None:
        raise UsageError(f"{text}: an image has no span of time: leave @START-END out")
    return example


def parse_label(line: str, *, folder: str | Path | None = None) -> Label:
    """Parse one label: ``name``, ``name = prompt | prompt | @example`` or ``@example``.

    Raises:
        UsageError: it has no name, or ``=`` is followed by nothing.
    """
    name, equals, rest = line.partition("=")
    if not equals and line.lstrip().startswith("@"):
        example = parse_example(line.strip().removeprefix("@"), folder=folder)
        return Label(os.path.basename(str(example)), (), (example,))
    name = " ".join(name.split())
    if not name:
        raise UsageError(f"a label has no name: {line.strip()!r} (write name = prompt | prompt)")
    if not equals:
        return Label(name, (name,))
    parts = [part.strip() for part in rest.split("|")]
    parts = [part for part in parts if part]
    if not parts:
        raise UsageError(f"label {name!r} has no prompt behind =: write one, or the name alone")
    prompts = tuple(" ".join(part.split()) for part in parts if not part.startswith("@"))
    examples = tuple(
        parse_example(part.removeprefix("@"), folder=folder)
        for part in parts
        if part.startswith("@")
    )
    return Label(name, prompts, examples)


def read_labels(text: str) -> tuple[Label, ...]:
    """Read the labels of ``--labels``: a file with one label a line, or text with ``;`` between
    labels.

    Lines that begin with ``#`` are comments.

    Raises:
        UsageError: the file is unreadable, there is no label, a label is repeated, there are more
            than :data:`MAX_LABELS`, or one is called ``background``.
    """
    where = "--labels"
    folder: Path | None = None
    lines: Iterable[str]
    if os.path.isfile(text):
        path = Path(text)
        where, folder = text, path.parent
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise UsageError(f"{text}: the labels cannot be read ({reason})") from error
    else:
        _refuse_missing_file(text)
        lines = text.split(";")
    labels = tuple(
        parse_label(line, folder=folder)
        for line in lines
        if line.strip() and not line.lstrip().startswith("#")
    )
    check_labels(labels, where)
    return labels


def check_labels(labels: tuple[Label, ...], where: str) -> None:
    """Check the labels of a command.

    Raises:
        UsageError: no label, too many, a repeated name, or the reserved name ``background``.
    """
    if not labels:
        raise UsageError(f"{where}: no label: write some, such as 'goal; corner; replay'")
    if len(labels) > MAX_LABELS:
        raise UsageError(
            f"{where}: {len(labels):,} labels are more than the {MAX_LABELS:,} of one question: "
            "ask in parts"
        )
    seen: set[str] = set()
    for label in labels:
        key = label.name.casefold()
        if key in seen:
            raise UsageError(
                f"{where}: label {label.name!r} is named twice: join its prompts with |"
            )
        seen.add(key)
    if BACKGROUND in seen:
        raise UsageError(
            f"{where}: {BACKGROUND!r} is what no label matches, it cannot be a label: "
            "choose another name"
        )


def _refuse_missing_file(text: str) -> None:
    """Reject text that looks like the name of a file that does not exist."""
    if ";" not in text and "=" not in text and text.lower().endswith((".txt", ".csv")):
        raise UsageError(f"{text}: no such labels file; check the path")
