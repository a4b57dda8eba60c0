"""Where a batch leaves its results: a local folder, or any place fsspec reaches.

Each object appears whole or not at all: a local file is renamed into place, an object store
makes a single put visible when it is complete and never renames.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import quote

from vtnstream.atomic import whole_file
from vtnstream.errors import OutputError, UsageError
from vtnstream.optional import require


class Storage(Protocol):
    """Named objects below one place; names have ``/`` for folders."""

    place: str

    def read(self, name: str) -> bytes | None:
        """The object, None where there is none."""

    def read_folder(self, folder: str) -> Iterator[bytes]:
        """Every object right in a folder."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Put the object there, over an older one."""

    def put(self, name: str, path: Path) -> None:
        """Put a local file there, however large."""

    def delete(self, name: str) -> None:
        """Remove the object, if it is there."""

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Name -> bytes of what lies right in a folder, folders included."""
        ...

    def stored(self, name: str) -> str:
        """What ``name`` is called there."""
        ...


def open_storage(place: str) -> Storage:
    """A folder by its path, or by an address such as ``s3://bucket/run``.

    Raises:
        UsageError: an address of a kind that is not known here.
        OutputError: the folder cannot be made.
    """
    scheme, separator, rest = place.partition("://")
    if separator and scheme != "file":
        return ObjectStorage(place)
    return FolderStorage(Path(rest if separator else place))


class FolderStorage:
    """A local directory, made where it does not exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = os.fspath(folder)
        _make(folder)

    def read(self, name: str) -> bytes | None:
        with _reading(self.folder / name), suppress(FileNotFoundError):
            return (self.folder / name).read_bytes()
        return None

    def read_folder(self, folder: str) -> Iterator[bytes]:
        for name in self.sizes(folder):
            data = self.read(f"{folder}/{name}")
            if data is not None:
                yield data

    def write(self, name: str, data: bytes) -> None:
        with self._writing(name) as file:
            file.write(data)

    def put(self, name: str, path: Path) -> None:
        with self._writing(name) as file, open(path, "rb") as source:
            shutil.copyfileobj(source, file)

    @contextmanager
    def _writing(self, name: str) -> Iterator[BinaryIO]:
        target = self.folder / name
        _make(target.parent)
        with _failing(f"{target}: cannot be written"), whole_file(target) as file:
            yield file

    def delete(self, name: str) -> None:
        with _failing(f"{self.folder / name}: cannot be removed"):
            (self.folder / name).unlink(missing_ok=True)

    def sizes(self, folder: str = "") -> dict[str, int]:
        found: dict[str, int] = {}
        place = self.folder / folder
        with _reading(place), suppress(FileNotFoundError), os.scandir(place) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # gone while we looked
                    found[entry.name] = entry.stat().st_size
        return dict(sorted(found.items()))

    def stored(self, name: str) -> str:
        return name


class ObjectStorage:
    """A prefix in an object store."""

    def __init__(self, place: str) -> None:
        self.place = place.rstrip("/")
        try:
            self._system, root = require("fsspec", "ray").core.url_to_fs(self.place)
        except (ValueError, ImportError) as error:
            raise UsageError(f"{place}: results cannot go there ({error})") from error
        self._root = root.rstrip("/")

    def read(self, name: str) -> bytes | None:
        with _reading(f"{self.place}/{name}"), suppress(FileNotFoundError):
            data: bytes = self._system.cat_file(self._key(name))
            return data
        return None

    def read_folder(self, folder: str) -> Iterator[bytes]:
        keys = [f"{self._key(folder)}/{name}" for name in self.sizes(folder)]
        with _reading(f"{self.place}/{folder}"):
            # Many at a time: one by one, thousands of small objects take minutes.
            yield from (
                self._system.cat(keys).values()
                if len(keys) > 1
                else map(self._system.cat_file, keys)
            )

    def write(self, name: str, data: bytes) -> None:
        with _failing(f"{self.place}/{name}: cannot be written"):
            self._system.pipe_file(self._key(name), data)

    def put(self, name: str, path: Path) -> None:
        with _failing(f"{self.place}/{name}: cannot be written"):
            self._system.put_file(os.fspath(path), self._key(name))

    def delete(self, name: str) -> None:
        with (
            _failing(f"{self.place}/{name}: cannot be removed"),
            suppress(FileNotFoundError),
        ):
            self._system.rm_file(self._key(name))

    def sizes(self, folder: str = "") -> dict[str, int]:
        found: dict[str, int] = {}
        with _reading(f"{self.place}/{folder}"), suppress(FileNotFoundError):
            # What other machines wrote counts, so nothing is taken from a cached listing.
            self._system.invalidate_cache()
            for entry in self._system.ls(self._key(folder), detail=True):
                name = entry["name"].rstrip("/").rpartition("/")[2]
                found[name] = int(entry.get("size") or 0)
        return dict(sorted(found.items()))

    def stored(self, name: str) -> str:
        try:
            name.encode()
        except UnicodeEncodeError:  # bytes of a file name; keys are UTF-8
            data = os.fsencode(name)
            return f"{quote(data, safe='/ ')}.{hashlib.sha256(data).hexdigest()[:16]}"
        return name

    def _key(self, name: str) -> str:
        return f"{self._root}/{self.stored(name)}" if name else self._root


def _make(folder: Path) -> None:
    with _failing(f"{folder}: cannot be made"):
        folder.mkdir(parents=True, exist_ok=True)


def _reading(place: object) -> AbstractContextManager[None]:
    return _failing(f"{place}: cannot be read")


@contextmanager
def _failing(what: str) -> Iterator[None]:
    """Errors inside, of whatever kind a store has, become one line.

    Raises:
        OutputError: ``what`` and why.
    """
    try:
        yield
    except Exception as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise OutputError(f"{what} ({reason or type(error).__name__})") from error
