"""Where a batch leaves its results: a local folder, or any place fsspec reaches.

Each object appears whole or not at all: a local file is renamed into place, an object store
makes a single put visible when it is complete and never renames.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from vtnstream.atomic import whole_file
from vtnstream.errors import OutputError, UsageError
from vtnstream.optional import require


class Storage(Protocol):
    """Named objects below one place; names have ``/`` for folders."""

    place: str

    def read(self, name: str) -> bytes | None:
        """The object, None where there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Put the object there, over an older one."""

    def size(self, name: str) -> int | None:
        """Its bytes, None where there is none."""

    def names(self, folder: str = "") -> list[str]:
        """What lies right in a folder, sorted."""


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
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OutputError(f"{self.folder / name}: cannot be read ({_reason(error)})") from error

    def write(self, name: str, data: bytes) -> None:
        target = self.folder / name
        _make(target.parent)
        try:
            with whole_file(target) as file:
                file.write(data)
        except OSError as error:
            raise OutputError(f"{target}: cannot be written ({_reason(error)})") from error

    def size(self, name: str) -> int | None:
        try:
            return (self.folder / name).stat().st_size
        except OSError:
            return None

    def names(self, folder: str = "") -> list[str]:
        try:
            return sorted(path.name for path in (self.folder / folder).iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be read ({_reason(error)})") from error


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
        try:
            data: bytes = self._system.cat_file(self._key(name))
        except FileNotFoundError:
            return None
        except Exception as error:  # each store has its own
            raise OutputError(f"{self.place}/{name}: cannot be read ({_reason(error)})") from error
        return data

    def write(self, name: str, data: bytes) -> None:
        try:
            self._system.pipe_file(self._key(name), data)
        except Exception as error:
            raise OutputError(
                f"{self.place}/{name}: cannot be written ({_reason(error)})"
            ) from error

    def size(self, name: str) -> int | None:
        try:
            found: Any = self._system.info(self._key(name))["size"]
        except FileNotFoundError:
            return None
        except Exception as error:
            raise OutputError(f"{self.place}/{name}: cannot be read ({_reason(error)})") from error
        return int(found)

    def names(self, folder: str = "") -> list[str]:
        try:
            # What other machines wrote counts, so nothing is taken from a cached listing.
            self._system.invalidate_cache()
            found = self._system.ls(self._key(folder), detail=False)
        except FileNotFoundError:
            return []
        except Exception as error:
            raise OutputError(f"{self.place}: cannot be read ({_reason(error)})") from error
        return sorted(name.rstrip("/").rpartition("/")[2] for name in found)

    def _key(self, name: str) -> str:
        try:
            name.encode()
        except UnicodeEncodeError:  # bytes of a file name; keys are UTF-8
            data = os.fsencode(name)
            name = f"{quote(data, safe='/ ')}.{hashlib.sha256(data).hexdigest()[:16]}"
        return f"{self._root}/{name}" if name else self._root


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    found = getattr(error, "strerror", None) or " ".join(str(error).split())
    return found or type(error).__name__
