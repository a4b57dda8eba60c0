"""Write the files of a report in several formats, all or none."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vtnstream.atomic import sync_directory
from vtnstream.errors import OutputError, UsageError, VideoError
from vtnstream.registry import lookup
from vtnstream.report.formats import WRITERS, ReportWriter, every_writer, remarks
from vtnstream.report.naming import (
    base_name,
    file_name,
    hashed_name,
    output_names,
    same_source,
)
from vtnstream.report.place import Place
from vtnstream.report.writers.pictures import PictureSet, SpanFrames
from vtnstream.types import Report
from vtnstream.wording import plural

_File = tuple[Path, Callable[[BinaryIO], object]]
"""Path of a file, and what writes its content."""
_NO_VIDEO = (
    "it shows frames of the video, which was not found as a local file: download it, or name it "
    "with vtnstream export RESULT.json --video FILE"
)
_MOST_NAMED = 5


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
    frames: SpanFrames | None = None,
    obsolete: Callable[[Path], bool] = lambda _: True,
) -> Written:
    """Write one report in several formats.

    Files are complete or absent: all are written and synced under temporary names before the
    first is renamed; images follow as a second group. A result of the same input is replaced. A
    result of another input with the same name is not: the new name then gets a hash of its path.

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
        frames: reads frames of the video, for formats of images; None if it was not found.
        obsolete: whether an image with a name of this report that an earlier run may have written,
            and that is not among the new ones, is removed.

    Raises:
        UsageError: an unknown format.
        MissingExtraError: a format needs a library that is not installed.
        OutputError: the directory or a file cannot be written.
    """
    folder = Path(directory)
    writers = {name: lookup(every_writer(), name, "format") for name in formats}
    place = Place.of(report, folder, video)
    answers = {name: writer.refuses(report, place) for name, writer in writers.items()}
    refused = {name: why for name, why in answers.items() if why}
    for name, writer in writers.items():
        if not writer.is_text and frames is None:
            refused.setdefault(name, _NO_VIDEO)
    kept = {name: writer for name, writer in writers.items() if name not in refused}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({_reason(error)})") from error
    base = base or _free_base(report.input, folder, inputs)
    texts = {folder / file_name(base, w.suffix): w for w in kept.values() if w.is_text}
    images = PictureSet.of(report, base, [name for name, w in kept.items() if not w.is_text])
    for target in (*texts, *(folder / name for name in images.names())):
        check(target)
    _write_together(folder, _text_files(report, place, texts), before_rename)
    found = remarks(report, kept)
    written = list(texts)
    if images.formats and frames is not None:
        try:
            more, missing = _write_images(folder, images, frames, before_rename)
        except VideoError as error:
            refused |= {name: str(error) for name in sorted(images.formats)}
        else:
            _remove_obsolete(folder, images, more, obsolete)
            written += more
            found += _missing_frames(images, missing)
    return Written(tuple(written), refused, found)


def text_targets(
    path: str, directory: str | Path, formats: Iterable[str], *, inputs: Collection[str] = ()
) -> list[Path]:
    """Return the files that :func:`write_reports` writes for a video in formats of text.

    The arguments are those of :func:`write_reports`.

    Raises:
        UsageError: an unknown format.
        MissingExtraError: a format needs a library that is not installed.
    """
    folder = Path(directory)
    base = _free_base(path, folder, inputs)
    writers = (lookup(every_writer(), name, "format") for name in formats)
    return [folder / file_name(base, writer.suffix) for writer in writers if writer.is_text]


def _text_files(
    report: Report, place: Place, targets: Mapping[Path, ReportWriter]
) -> Iterator[_File]:
    for target, writer in targets.items():
        yield target, functools.partial(writer.write, report, place)


def _write_images(
    folder: Path,
    images: PictureSet,
    frames: SpanFrames,
    before_rename: Callable[[Path, Path], None],
) -> tuple[list[Path], list[str]]:
    """Write images; return their paths, and the segments of which no frame could be decoded."""
    written: list[Path] = []
    missing: list[str] = []

    def files() -> Iterator[_File]:
        for name, data in images.files(frames, missing):
            written.append(folder / name)
            yield folder / name, functools.partial(_copy, data)

    _write_together(folder, files(), before_rename)
    return written, missing


def _copy(data: bytes, file: BinaryIO) -> None:
    file.write(data)


def _missing_frames(images: PictureSet, missing: Sequence[str]) -> tuple[str, ...]:
    if not missing:
        return ()
    shown = ", ".join(missing[:_MOST_NAMED]) + (" ..." if len(missing) > _MOST_NAMED else "")
    names = ", ".join(sorted(images.formats))
    return (f"{names}: no frame of {plural(len(missing), 'segment')} could be decoded: {shown}",)


def _remove_obsolete(
    folder: Path, images: PictureSet, written: Collection[Path], obsolete: Callable[[Path], bool]
) -> None:
    """Remove images of an earlier run that are not among the new ones."""
    kept = set(written)
    for name in images.folders():
        for path in sorted((folder / name).glob("*.jpg")):
            own = images.is_own(path.relative_to(folder).as_posix())
            if own and path not in kept and obsolete(path):
                with contextlib.suppress(OSError):
                    path.unlink()


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
        UsageError: an unknown format, or one of images.
        MissingExtraError: the format needs a library that is not installed.
        OutputError: the format cannot hold the report.
    """
    writer = lookup(every_writer(), name, "format")
    if not writer.is_text:
        raise UsageError(f"-f {name} writes images: name a folder with -o DIR")
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
    folder: Path, files: Iterable[_File], before_rename: Callable[[Path, Path], None]
) -> None:
    """Write all files under temporary names, then rename them."""
    written: list[tuple[Path, Path]] = []
    try:
        for target, write in files:
            try:
                temporary, file = _open_in(folder, len(written))
                written.append((temporary, target))
                with file:
                    write(file)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise OutputError(f"{target}: cannot be written ({_reason(error)})") from error
        folders = {target.parent for _, target in written}
        while written:
            temporary, target = written[0]
            before_rename(temporary, target)
            try:
                target.parent.mkdir(exist_ok=True)
                os.replace(temporary, target)
            except OSError as error:
                raise OutputError(f"{target}: cannot be replaced ({_reason(error)})") from error
            written.pop(0)
        for changed in folders:
            with contextlib.suppress(OSError):
                sync_directory(changed)
    finally:
        for temporary, _ in written:
            with contextlib.suppress(OSError):
                temporary.unlink()


def _open_in(folder: Path, first: int) -> tuple[Path, BinaryIO]:
    """Create a temporary file in a folder, with the permissions of any new file.

    Its name is short, because the target's name may have the maximum length; it has a number of at
    least ``first``, because lower ones are taken.
    """
    for number in itertools.count(first):
        temporary = folder / f".vtnstream-{os.getpid()}-{number}.tmp"
        with contextlib.suppress(FileExistsError):
            return temporary, open(temporary, "xb")
    raise AssertionError("counting ended")


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
