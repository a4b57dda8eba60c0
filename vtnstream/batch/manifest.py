"""Make the list of inputs that every command processes.

Arguments are files, directories, globs (for shells that do not expand them), lists, and ``-`` for
names or a video on standard input. Addresses are accepted only on the command line. Names are used
byte for byte: a leading dash, blanks, colons and bytes that are not UTF-8 have no special meaning.
A name that is not found becomes an input with an error, so that it does not stop the others.
"""

from __future__ import annotations

import glob
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from vtnstream.errors import UsageError
from vtnstream.suffixes import VIDEO_SUFFIXES
from vtnstream.transport.address import STANDARD_INPUT, is_address, is_file_name
from vtnstream.transport.pipe import is_video, peek_standard_input

_DIGEST_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Input:
    """One video to process, or one name without a video (``error`` says why)."""

    path: str
    error: str | None = None

    @property
    def absolute(self) -> str:
        """The absolute path, or an address unchanged."""
        return os.path.abspath(self.path) if is_file_name(self.path) else self.path


@dataclass(frozen=True, slots=True)
class InputList:
    """The inputs of a command.

    Attributes:
        items: inputs in the order of the command line, without duplicates.
        single: whether the command line names exactly one video, so that ``--json`` prints one
            document instead of an array.
    """

    items: tuple[Input, ...]
    single: bool

    def digest(self) -> str:
        """Return the hex digest of the set of inputs, independent of their order."""
        paths = sorted(os.fsencode(item.absolute) for item in self.items)
        return hashlib.sha256(b"\0".join(paths)).hexdigest()[:_DIGEST_DIGITS]


def read_manifest(
    arguments: Sequence[str],
    *,
    files_from: str | None = None,
    null: bool = False,
    recursive: bool = False,
    files_only: bool = False,
) -> InputList:
    """Make the list of inputs that a command line names.

    Args:
        arguments: files, directories, globs, and ``-`` for names on standard input.
        files_from: a file of names, one per line; ``-`` is standard input.
        null: names in lists are separated by NUL instead of line breaks.
        recursive: include subdirectories.
        files_only: accept neither addresses nor a video on standard input.

    Raises:
        UsageError: no input is named, or the list of names cannot be read.
    """
    if null and files_from is None and "-" not in arguments:
        raise UsageError("-0 needs a list of names: give --files-from LIST or -")
    if not arguments and files_from is None:
        raise UsageError("no input: name a video, a directory, --files-from LIST, or - for stdin")
    if files_from == "-" and "-" in arguments:
        raise UsageError("standard input cannot be read twice: give - or --files-from -")
    found = _inputs(arguments, files_from, null=null, recursive=recursive, files_only=files_only)
    items = _unique(found)
    if not items:
        raise UsageError("the list of names is empty")
    plain = files_from is None and len(arguments) == 1
    single = plain and [item.path for item in items] == [arguments[0]]
    return InputList(items, single)


def _unique(items: Iterable[Input]) -> tuple[Input, ...]:
    found: dict[str, Input] = {}
    for item in items:
        found.setdefault(item.absolute, item)
    return tuple(found.values())


def _inputs(
    arguments: Sequence[str], listed: str | None, *, null: bool, recursive: bool, files_only: bool
) -> Iterator[Input]:
    for argument in arguments:
        if argument != STANDARD_INPUT:
            if is_address(argument) and not files_only:
                yield Input(argument)
            else:
                yield from _expand(argument, recursive=recursive)
        elif not null and not files_only and is_video(peek_standard_input()):
            yield Input(STANDARD_INPUT)
        else:
            for name in _split(sys.stdin.buffer.read(), null=null):
                yield from _expand(name, recursive=recursive)
    for name in _listed(listed, null=null):
        yield from _expand(name, recursive=recursive)


def _listed(listed: str | None, *, null: bool) -> Iterator[str]:
    """Yield the names in a list file, or on standard input for ``-``."""
    if listed == STANDARD_INPUT:
        yield from _split(sys.stdin.buffer.read(), null=null)
    elif listed is not None:
        try:
            with open(listed, "rb") as file:
                yield from _split(file.read(), null=null)
        except OSError as error:
            raise UsageError(f"{listed}: the list cannot be read ({error.strerror})") from error


def _split(data: bytes, *, null: bool) -> Iterator[str]:
    if null:
        parts = data.split(b"\0")
    else:
        # Lists of other systems may have a byte order mark, and CR before each line feed.
        parts = [
            line.removesuffix(b"\r") for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        ]
    # In a list, - is a file of that name, not standard input.
    yield from (os.fsdecode(b"./-" if part == b"-" else part) for part in parts if part)


def _expand(name: str, *, recursive: bool) -> Iterator[Input]:
    if "\0" in name:
        yield Input(name, "not a file name (it contains NUL: is -0 missing?)")
    elif os.path.isdir(name):
        yield from _directory(name, recursive=recursive)
    elif is_address(name) and not os.path.lexists(name):
        yield Input(name, "not read: give addresses on the command line, not in lists or batches")
    elif os.path.lexists(name) or not glob.has_magic(name):
        yield Input(name)
    else:
        yield from _glob(name, recursive=recursive)


def _glob(pattern: str, *, recursive: bool) -> Iterator[Input]:
    found = sorted(glob.iglob(pattern, recursive=True))
    if not found:
        yield Input(pattern, "no file matches this pattern")
    for name in found:
        if os.path.isdir(name):
            if recursive:
                yield from _directory(name, recursive=True)
        else:
            yield Input(name)


def _directory(name: str, *, recursive: bool) -> Iterator[Input]:
    errors: list[Input] = []

    def unreadable(error: OSError) -> None:
        place = os.fsdecode(error.filename) if error.filename is not None else name
        errors.append(Input(place, f"the directory cannot be read ({error.strerror})"))

    found, deeper = 0, False
    for folder, folders, files in os.walk(name, onerror=unreadable):
        # Hidden files are no videos (macOS writes ._name.mp4 next to name.mp4).
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        deeper = deeper or bool(folders)
        for file in sorted(files):
            if not file.startswith(".") and os.path.splitext(file)[1].lower() in VIDEO_SUFFIXES:
                found += 1
                yield Input(os.path.join(folder, file))
        if not recursive:
            break
    yield from errors
    if not found and not errors:
        hint = ": include its subdirectories with --recursive" if deeper and not recursive else ""
        yield Input(name, f"no video in this directory{hint}")
