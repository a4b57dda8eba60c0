"""Read JSON files of model folders, which are untrusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vtnstream.errors import ModelError
from vtnstream.models.io.weights import one_line

_LARGEST_JSON = 10 * 2**20


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ModelError: the file does not exist, is not a regular file (a pipe or device would block),
            is too large, or does not hold a JSON object.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise ModelError(f"{path}: not a regular file")
        if size > _LARGEST_JSON:
            raise ModelError(f"{path}: too large for a config")
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{path}: not readable as JSON ({one_line(error)})") from error
    if not isinstance(data, dict):
        raise ModelError(f"{path}: expected a JSON object")
    return data
