"""Make the list of inputs from the options of a command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vtnstream.batch.manifest import Input, InputList, read_manifest
from vtnstream.errors import UsageError
from vtnstream.transport.address import STANDARD_INPUT

__all__ = ["Input", "InputList", "require_file", "resolve"]


def require_file(inputs: InputList, flag: str) -> None:
    """Check that no input is standard input, which cannot be read twice as ``flag`` requires.

    Raises:
        UsageError: an input is standard input.
    """
    if any(item.path == STANDARD_INPUT for item in inputs.items):
        raise UsageError(f"{flag} reads the video again: save standard input to a file first")


def require_one_video(values: Mapping[str, Any], inputs: InputList) -> None:
    """
    Raises:
        UsageError: ``--features`` is given with several inputs.
    """
    if values["features"] is not None and len(inputs.items) != 1:
        raise UsageError("--features is for one video: name one input")


def resolve(values: Mapping[str, Any], *, files_only: bool = False) -> InputList:
    """Make the list of inputs that the options of a command name.

    Args:
        values: the command's options.
        files_only: accept neither addresses nor a video on standard input.

    Raises:
        UsageError: no input is named, or the list of names cannot be read.
    """
    return read_manifest(
        values["inputs"],
        files_from=values["files_from"],
        null=values["null"],
        recursive=values["recursive"],
        files_only=files_only,
    )
