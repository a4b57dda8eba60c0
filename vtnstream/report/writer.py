"""Report files: one table of formats, written all or not at all."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vtnstream.atomic import sync_directory
from vtnstream.errors import OutputError
from vtnstream.registry import lookup
from vtnstream.report.formats import WRITERS, ReportWriter, remarks
from vtnstream.report.naming import (
    base_name,
    file_name,
    hashed_name,
    output_names,
    same_source,
)
from vtnstream.report.place import Place
from vtnstream.types import Report


@dataclass(frozen=True, slots=True)
class Written:
    """What became of the formats asked for.

    Attributes:
        files: in the order of the formats.
        refused: formats that cannot hold this report -> why, in one sentence.
        remarks: what a reader of the files should know, one sentence each.
    """

    files: tuple[Path, ...]
    refused: Mapping[str, str]
    remarks: tuple[str, ...]


def write_reports(
    report: Report,
    directory: str | Path,
    formats: Iterable[str],
    *,
    inputs: Collection[str] = (),
    video: str | Path | None = None,
    base: str | None = None,
    check: Callable[[Path], None] = lambda _: None,
    before_rename: Callable[[Path, Path], None] = lambda _temporary, _target: None,
) -> Written:
    """Write one report in several formats.

    Files are complete or absent: all formats are written to the disk under other names
    before the first takes its place. A result of the same input is replaced; that of another
    input with the same name is not: this one's name then carries a hash of its path.

    Args:
        report: what to write.
        directory: made where it does not exist.
        formats: names in :data:`WRITERS`.
        inputs: all inputs of the command, so that those with equal names are told apart
            whichever comes first.
        video: where the video lies now, where that is not ``report.input``.
        base: the name without a format's ending, where the caller has settled it.
        check: called with each file before anything is written; raises an error to keep the
            file that is there.
        before_rename: called with each complete temporary file and the name it is about to get.

    Raises:
        UsageError: an unknown format.
        MissingExtraError: a format needs a library that is not installed.
        OutputError: the directory or a file cannot be written.
    """
    folder = Path(directory)
    writers = {name: lookup(WRITERS, name, "format") for name in formats}
    place = Place.of(report, folder, video)
    answers = {name: writer.refuses(report, place) for name, writer in writers.items()}
    refused = {name: why for name, why in answers.items() if why}
    kept = {name: writer for name, writer in writers.items() if name not in refused}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({_reason(error)})") from error
    base = base or _free_base(report.input, folder, inputs)
    targets = {folder / file_name(base, writer.suffix): writer for writer in kept.values()}
    for target in targets:
        check(target)
    _write_together(report, place, list(targets.items()), before_rename)
    return Written(tuple(targets), refused, remarks(report, kept))


def rendered(
    report: Report, name: str, *, video: str | Path | None = None
) -> tuple[str, tuple[str, ...]]:
    """The text of a report in one format, as for a file in the current directory.

    Args:
        report: what to write.
        name: of the format.
        video: where the video lies now, if that is not ``report.input``.

    Returns:
        the text, and what a reader of it should know, one sentence each.

    Raises:
        UsageError: an unknown format.
        MissingExtraError: the format needs a library that is not installed.
        OutputError: the format cannot hold the report.
    """
    writer = lookup(WRITERS, name, "format")
    place = Place.of(report, Path(), video)
    if why := writer.refuses(report, place):
        raise OutputError(f"{report.input}: no {name}: {why}")
    text = io.BytesIO()
    writer.write(report, place, text)
    return text.getvalue().decode("utf-8"), remarks(report, [name])


def _free_base(path: str, folder: Path, inputs: Collection[str]) -> str:
    base = _names(tuple(inputs)).get(path) or output_names([*inputs, path])[path]
    if base != base_name(path):
        return base
    owner = _owner(folder / file_name(base, WRITERS["json"].suffix))
    return base if owner is None or same_source(owner, path) else hashed_name(path)


@functools.lru_cache(maxsize=1)
def _names(inputs: tuple[str, ...]) -> Mapping[str, str]:
    """The names of all inputs, worked out once for a command with thousands of them."""
    return output_names(inputs)


def is_result_of(target: Path, path: str) -> bool:
    """Whether ``target`` is the JSON result of the input ``path``."""
    owner = _owner(target)
    return owner is not None and same_source(owner, path)


def _owner(target: Path) -> str | None:
    """The input of the JSON result that has this name already."""
    try:
        document = json.loads(target.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    found = document.get("input") if isinstance(document, dict) else None
    return found if isinstance(found, str) else None


def _write_together(
    report: Report,
    place: Place,
    files: list[tuple[Path, ReportWriter]],
    before_rename: Callable[[Path, Path], None],
) -> None:
    written: list[tuple[Path, Path]] = []
    try:
        for target, writer in files:
            try:
                temporary, file = _open_beside(target)
                written.append((temporary, target))
                with file:
                    writer.write(report, place, file)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise OutputError(f"{target}: cannot be written ({_reason(error)})") from error
        while written:
            temporary, target = written[0]
            before_rename(temporary, target)
            try:
                os.replace(temporary, target)
            except OSError as error:
                raise OutputError(f"{target}: cannot be replaced ({_reason(error)})") from error
            written.pop(0)
        if files:
            with contextlib.suppress(OSError):
                sync_directory(files[0][0].parent)
    finally:
        for temporary, _ in written:
            with contextlib.suppress(OSError):
                temporary.unlink()


def _open_beside(target: Path) -> tuple[Path, BinaryIO]:
    """A new file in the directory of ``target``, with a short name of its own (that of the
    target may be as long as names can be) and the permissions of any new file."""
    for number in itertools.count():
        temporary = target.parent / f".vtnstream-{os.getpid()}-{number}.tmp"
        with contextlib.suppress(FileExistsError):
            return temporary, open(temporary, "xb")
    raise AssertionError("counting ended")


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
