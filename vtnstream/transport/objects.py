"""Open files in object stores through fsspec."""

from __future__ import annotations

from typing import Any

from vtnstream.errors import MissingExtraError, VideoOpenError
from vtnstream.optional import require

_BLOCK = 1 << 20
_MAX_BLOCKS = 8


def open_object(address: str) -> tuple[Any, int, str]:
    """Open an object as a file.

    Returns:
        The file object, its size in bytes, and a string that identifies its version.

    Raises:
        VideoOpenError: the object cannot be opened.
        MissingExtraError: the store needs a library that is not installed.
    """
    fsspec = require("fsspec", "remote")
    try:
        system, path = fsspec.core.url_to_fs(address)
        facts = system.info(path)
        if facts.get("type") == "directory":
            raise VideoOpenError(f"{address}: is a directory; name a video file in it")
        file = system.open(
            path,
            "rb",
            block_size=_BLOCK,
            cache_type="blockcache",
            cache_options={"maxblocks": _MAX_BLOCKS},
        )
    except ImportError as error:
        raise MissingExtraError(f"{address}: {error}") from error
    except FileNotFoundError:
        raise VideoOpenError(f"{address}: no such object; check the address") from None
    except VideoOpenError:
        raise
    except Exception as error:  # each store has its own exceptions
        raise VideoOpenError(f"{address}: cannot be opened ({error}); check the address") from error
    return file, int(facts["size"]), _version(facts)


def _version(facts: dict[str, Any]) -> str:
    for name in ("ETag", "etag", "md5Hash", "generation", "LastModified", "mtime", "created"):
        if facts.get(name) is not None:
            return f"{name}={facts[name]}"
    return ""
