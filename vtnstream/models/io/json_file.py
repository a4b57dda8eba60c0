"""Read the JSON files of a model, which are untrusted. Torch is not imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vtnstream.errors import ModelError

_LARGEST_JSON = 10 * 2**20


def one_line(error: BaseException | str) -> str:
    """Return an error's message without line breaks, short enough for a terminal line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."


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
