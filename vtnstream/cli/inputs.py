"""The input options of a command, read by the one manifest code of all commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vtnstream.batch.manifest import Input, InputList, read_manifest

__all__ = ["Input", "InputList", "resolve"]


def resolve(values: Mapping[str, Any]) -> InputList:
    """The inputs that the options of a command name.

    Raises:
        UsageError: nothing is named, or the list of names cannot be read.
    """
    return read_manifest(
        values["inputs"],
        files_from=values["files_from"],
        null=values["null"],
        recursive=values["recursive"],
    )
