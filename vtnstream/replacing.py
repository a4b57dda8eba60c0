"""Protect existing files: only vtnstream's own are replaced, unless the user allows it.

Every command that writes a file calls :func:`check_target` before it starts, and every command
that writes into a folder :func:`check_folder`. A file that is written under a temporary name is
then renamed with :func:`move_into_place`. Result files that a command writes again on every run
(:func:`remember`) are recognised by a record in the cache directory: one small file per path with
the size and hash of the content that was written, or will be renamed to it (:func:`announce`). A
file that was changed since is the user's, and is not replaced.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from vtnstream.config.runtime import default_cache_dir
from vtnstream.errors import ConfigError, OutputError

_FOLDER = "written"
_HASHED_BYTES = 4 << 20
"""Bytes that are hashed at the beginning and at the end of a file; a smaller file is hashed
whole."""
_ELSEWHERE = "name another place"


def check_folder(folder: Path, name: Path | None = None) -> None:
    """Check that files can be written in a folder, which need not exist yet.

    Nothing is left behind: the check opens an unnamed file in the folder, or in the nearest folder
    above it that exists.

    Args:
        folder: the folder.
        name: the path that the user named, for the message; None is ``folder``.

    Raises:
        OutputError: the folder cannot be made, or no file can be written in it.
    """
    named = folder if name is None else name
    place = _nearest(folder, named)
    if not os.path.isdir(place):
        what = "a file" if os.path.exists(place) else "a link to nothing"
        if place == named:
            raise OutputError(f"{named}: is {what}, not a folder; {_ELSEWHERE}")
        raise OutputError(f"{named}: cannot be made, because {place} is {what}; {_ELSEWHERE}")
    try:
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        raise OutputError(
            f"{named}: no file can be written in {place} ({error.strerror or error}); {_ELSEWHERE}"
        ) from None


def _nearest(path: Path, named: Path) -> Path:
    """Return ``path`` if it exists, else the nearest path above it that does."""
    while True:
        try:
            os.lstat(path)
            return path
        except (FileNotFoundError, NotADirectoryError):
            path = path.parent
        except OSError as error:
            reason = error.strerror or error
            raise OutputError(f"{named}: cannot be made ({reason}); {_ELSEWHERE}") from None


def check_target(
    target: Path,
    *,
    sources: Iterable[str | Path] = (),
    overwrite: bool = False,
    remembered: bool = False,
) -> None:
    """Refuse to replace a file, or to write one where none can be written.

    Args:
        target: path of the file to be written.
        sources: files that the command reads. ``target`` must not be one of them, also as a link,
            and also with ``overwrite``.
        overwrite: the user allows that an existing file is replaced.
        remembered: also allow it if vtnstream wrote ``target`` itself (:func:`remember`) and it was
            not changed since.

    Raises:
        OutputError: the file must not be replaced, or cannot be written there.
    """
    for source in sources:
        if _same_file(target, source):
            raise OutputError(
                f"{target}: exists already and is the source itself ({source}), which is never "
                "replaced; name another file"
            )
    if os.path.isdir(target):
        raise OutputError(f"{target}: is a folder, not a file; {_ELSEWHERE}")
    check_folder(target.parent, target)
    if overwrite or not os.path.lexists(target):
        return
    if remembered and was_written_here(target):
        return
    changed = " and was not written by vtnstream, or was changed since" if remembered else ""
    raise OutputError(
        f"{target}: exists already{changed}; name another place, or replace it with --overwrite"
    )


def _same_file(a: str | Path, b: str | Path) -> bool:
    """Return whether two paths are the same existing file (links and hard links included)."""
    try:
        return os.path.samefile(a, b)
    except (OSError, ValueError):  # one of them does not exist, or is an address
        return False


def move_into_place(temporary: Path, target: Path, *, overwrite: bool) -> None:
    """Rename a completely written file to its final name, in one step.

    Args:
        temporary: in the same folder as ``target``.
        target: the final name.
        overwrite: replace a file of that name. Otherwise one that appeared since
            :func:`check_target` is kept.

    Raises:
        OutputError: ``target`` exists and ``overwrite`` is False.
        OSError: the file system refuses.
    """
    if overwrite:
        os.replace(temporary, target)
        return
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise OutputError(
            f"{target}: exists already; name another place, or replace it with --overwrite"
        ) from None
    except OSError as error:
        # FAT, some network mounts and some containers have no hard links.
        if error.errno in (errno.ENOSPC, errno.EIO, errno.EROFS) or os.path.lexists(target):
            raise
        os.replace(temporary, target)
        return
    os.unlink(temporary)


# ----------------------------------------------------------------- files written by vtnstream


def remember(files: Iterable[Path]) -> None:
    """Record that vtnstream wrote these files, so that a later run may replace them.

    A record that cannot be written (read-only or missing home) is left out; a later run then
    asks for ``--overwrite``.
    """
    for file in files:
        with contextlib.suppress(OSError, ConfigError):
            _write_record(file, [_fingerprint(file)])


def announce(temporary: Path, target: Path) -> None:
    """Record that ``temporary`` is about to be renamed to ``target``. A process that is killed
    right after the rename thereby leaves a file that the next run recognises."""
    with contextlib.suppress(OSError, ConfigError):
        known = [_fingerprint(target)] if was_written_here(target) else []
        _write_record(target, [_fingerprint(temporary), *known])


def was_written_here(file: Path) -> bool:
    """Return whether :func:`remember` was called for this path and the file is unchanged since."""
    try:
        if file.is_symlink() or not file.is_file():
            return False
        return _fingerprint(file) in json.loads(_record(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, ConfigError):
        return False


def _write_record(file: Path, fingerprints: list[dict[str, int | str]]) -> None:
    """Replace the record of ``file`` by the fingerprints of contents that vtnstream gives it."""
    record = _record(file)
    record.parent.mkdir(parents=True, exist_ok=True)
    temporary = record.with_name(f"{record.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(fingerprints), encoding="utf-8")
    os.replace(temporary, record)


def _record(file: Path) -> Path:
    """Return the path of the record of a file."""
    # Only the folder is resolved: a link at this path is another file.
    place = os.path.join(os.path.realpath(file.parent), file.name)
    name = hashlib.sha256(os.fsencode(place)).hexdigest()
    return default_cache_dir() / _FOLDER / name[:2] / f"{name[2:]}.json"


def _fingerprint(file: Path) -> dict[str, int | str]:
    """Return the size in bytes and the SHA-256 of the first and last 4 MiB."""
    with open(file, "rb") as opened:
        size = os.fstat(opened.fileno()).st_size
        digest = hashlib.sha256(opened.read(_HASHED_BYTES))
        opened.seek(max(opened.tell(), size - _HASHED_BYTES))
        digest.update(opened.read())
    return {"size": size, "sha256": digest.hexdigest()}
