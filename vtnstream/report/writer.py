"""Write the files of a report in several formats, all or none."""

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
    """The result of writing a report.

    Attributes:
        files: in the order of the formats.
        refused: formats that cannot hold this report -> why, in one sentence.
        remarks: remarks on the files, one sentence each.
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

    Files are complete or absent: all are written and synced under temporary names before the
    first is renamed. A result of the same input is replaced. A result of another input with the
    same name is not: the new name then gets a hash of its path.

    Args:
        report: the report.
        directory: output folder, created if it does not exist.
        formats: names in :data:`WRITERS`.
        inputs: all inputs of the command, so that equal names are made different whatever their
            order.
        video: current path of the video, if it is not ``report.input``.
        base: file name without the format's suffix; None chooses it.
        check: called with each file before anything is written; raises an error to keep an existing
            file.
        before_rename: called with each complete temporary file and its final name.

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
    """Return the text of a report in one format, as for a file in the current directory.

    Args:
        report: the report.
        name: of the format.
        video: current path of the video, if it is not ``report.input``.

    Returns:
        the text, and remarks on it, one sentence each.

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
    """Return the names of all inputs; cached for commands with thousands of them."""
    return output_names(inputs)


def is_result_of(target: Path, path: str) -> bool:
    """Return whether ``target`` is the JSON result of the input ``path``."""
    owner = _owner(target)
    return owner is not None and same_source(owner, path)


def _owner(target: Path) -> str | None:
    """Return the input of the JSON result that already has this name, or None."""
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
    """Create a temporary file in the directory of ``target``, with the permissions of any new
    file.

    Its name is short, because the target's name may have the maximum length.
    """
    for number in itertools.count():
        temporary = target.parent / f".vtnstream-{os.getpid()}-{number}.tmp"
        with contextlib.suppress(FileExistsError):
            return temporary, open(temporary, "xb")
    raise AssertionError("counting ended")


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
