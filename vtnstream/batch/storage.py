"""Storage of the results of a batch: a local folder, or an object store through fsspec.

Objects are written atomically: local files are renamed into place, and object stores show an object
only when it is complete.
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
    """Named objects below one folder or prefix; ``/`` in names separates folders."""

    place: str

    def read(self, name: str) -> bytes | None:
        """Return the content of an object, or None if it does not exist."""

    def read_folder(self, folder: str) -> Iterator[bytes]:
        """Return the contents of all objects directly in a folder."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write an object, replacing an existing one."""

    def put(self, name: str, path: Path) -> None:
        """Write a local file of any size as an object."""

    def delete(self, name: str) -> None:
        """Remove an object if it exists."""

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Return the sizes in bytes of the entries directly in a folder, including folders, by
        name."""
        ...

    def stored(self, name: str) -> str:
        """Return the name under which ``name`` is stored."""
        ...


def open_storage(place: str) -> Storage:
    """Open a local folder by its path, or an object store by an address (``s3://bucket/run``).

    Raises:
        UsageError: the kind of address is not supported.
        OutputError: the folder cannot be created.
    """
    scheme, separator, rest = place.partition("://")
    if separator and scheme != "file":
        return ObjectStorage(place)
    return FolderStorage(Path(rest if separator else place))


class FolderStorage:
    """A local directory, created if it does not exist."""

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
        with _as_output_error(f"{target}: cannot be written"), whole_file(target) as file:
            yield file

    def delete(self, name: str) -> None:
        with _as_output_error(f"{self.folder / name}: cannot be removed"):
            (self.folder / name).unlink(missing_ok=True)

    def sizes(self, folder: str = "") -> dict[str, int]:
        found: dict[str, int] = {}
        place = self.folder / folder
        with _reading(place), suppress(FileNotFoundError), os.scandir(place) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # removed meanwhile
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
            raise UsageError(f"{place}: cannot be used for results ({error})") from error
        self._root = root.rstrip("/")

    def read(self, name: str) -> bytes | None:
        with _reading(f"{self.place}/{name}"), suppress(FileNotFoundError):
            data: bytes = self._system.cat_file(self._key(name))
            return data
        return None

    def read_folder(self, folder: str) -> Iterator[bytes]:
        keys = [f"{self._key(folder)}/{name}" for name in self.sizes(folder)]
        with _reading(f"{self.place}/{folder}"):
            # Read many at a time: one by one, thousands of small objects take minutes.
            yield from (
                self._system.cat(keys).values()
                if len(keys) > 1
                else map(self._system.cat_file, keys)
            )

    def write(self, name: str, data: bytes) -> None:
        with _as_output_error(f"{self.place}/{name}: cannot be written"):
            self._system.pipe_file(self._key(name), data)

    def put(self, name: str, path: Path) -> None:
        with _as_output_error(f"{self.place}/{name}: cannot be written"):
            self._system.put_file(os.fspath(path), self._key(name))

    def delete(self, name: str) -> None:
        with (
            _as_output_error(f"{self.place}/{name}: cannot be removed"),
            suppress(FileNotFoundError),
        ):
            self._system.rm_file(self._key(name))

    def sizes(self, folder: str = "") -> dict[str, int]:
        found: dict[str, int] = {}
        with _reading(f"{self.place}/{folder}"), suppress(FileNotFoundError):
            # Other machines write too, so a cached listing would be out of date.
            self._system.invalidate_cache()
            for entry in self._system.ls(self._key(folder), detail=True):
                name = entry["name"].rstrip("/").rpartition("/")[2]
                found[name] = int(entry.get("size") or 0)
        return dict(sorted(found.items()))

    def stored(self, name: str) -> str:
        try:
            name.encode()
        except UnicodeEncodeError:  # a file name that is not UTF-8; keys must be
            data = os.fsencode(name)
            return f"{quote(data, safe='/ ')}.{hashlib.sha256(data).hexdigest()[:16]}"
        return name

    def _key(self, name: str) -> str:
        return f"{self._root}/{self.stored(name)}" if name else self._root


def _make(folder: Path) -> None:
    with _as_output_error(f"{folder}: cannot be created"):
        folder.mkdir(parents=True, exist_ok=True)


def _reading(place: object) -> AbstractContextManager[None]:
    return _as_output_error(f"{place}: cannot be read")


@contextmanager
def _as_output_error(what: str) -> Iterator[None]:
    """Turn any exception of a storage into one line.

    Raises:
        OutputError: ``what`` and the reason.
    """
    try:
        yield
    except Exception as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise OutputError(f"{what} ({reason or type(error).__name__})") from error
