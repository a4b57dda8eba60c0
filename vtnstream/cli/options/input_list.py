"""The input options of a command, read by the one manifest code of all commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vtnstream.batch.manifest import Input, InputList, read_manifest
from vtnstream.errors import UsageError
from vtnstream.transport.address import STANDARD_INPUT

__all__ = ["Input", "InputList", "require_file", "resolve"]


def require_file(inputs: InputList, flag: str) -> None:
    """Raises:
    UsageError: ``flag`` reads the video a second time, and one comes through a pipe.
    """
    if any(item.path == STANDARD_INPUT for item in inputs.items):
        raise UsageError(f"{flag} reads the video again: save standard input to a file first")


def resolve(values: Mapping[str, Any], *, files_only: bool = False) -> InputList:
    """The inputs that the options of a command name; ``files_only`` where neither addresses nor
    a video on standard input will do.

    Raises:
        UsageError: nothing is named, or the list of names cannot be read.
    """
    return read_manifest(
        values["inputs"],
        files_from=values["files_from"],
        null=values["null"],
        recursive=values["recursive"],
        files_only=files_only,
    )
