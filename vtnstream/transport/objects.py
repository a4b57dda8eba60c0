"""Files in object stores, through fsspec."""

from __future__ import annotations

from typing import Any

from vtnstream.errors import MissingExtraError, VideoOpenError
from vtnstream.optional import require

_BLOCK = 1 << 20
_MOST_BLOCKS = 8


def open_object(address: str) -> tuple[Any, int, str]:
    """An object as a file.

    Returns:
        the file, its size in bytes, and what tells this version of it from another.

    Raises:
        VideoOpenError: it cannot be opened.
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
            cache_options={"maxblocks": _MOST_BLOCKS},
        )
    except ImportError as error:
        raise MissingExtraError(f"{address}: {error}") from error
    except FileNotFoundError:
        raise VideoOpenError(f"{address}: no such object; check the address") from None
    except VideoOpenError:
        raise
    except Exception as error:  # each store has errors of its own
        raise VideoOpenError(f"{address}: cannot be opened ({error}); check the address") from error
    return file, int(facts["size"]), _version(facts)


def _version(facts: dict[str, Any]) -> str:
    for name in ("ETag", "etag", "md5Hash", "generation", "LastModified", "mtime", "created"):
        if facts.get(name) is not None:
            return f"{name}={facts[name]}"
    return ""
