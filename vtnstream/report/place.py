"""Where the video lies, seen from the folder that a result is written to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_from_bytes

from vtnstream.report.naming import base_name
from vtnstream.types import Report


@dataclass(frozen=True, slots=True)
class Place:
    """The video of a result, for formats that point to it.

    Attributes:
        name: its file name.
        url: its address as it stands, ``file:///...`` for a file.
        relative: its address from the folder of the result; None where it is no file that is
            there.
    """

    name: str
    url: str
    relative: str | None = None

    @classmethod
    def of(cls, report: Report, folder: Path, video: str | Path | None = None) -> Place:
        """The place of a report's video.

        Args:
            report: whose ``input`` names it.
            folder: of the result.
            video: where it lies now; None takes the report's word.
        """
        name = base_name(report.input)
        path = os.fspath(video) if video is not None else report.input
        if "://" in path or path == "-":
            return cls(name, quote(path, safe=":/?&=%#@+,;~"), None)
        absolute = os.path.abspath(path)
        return cls(name, Path(absolute).as_uri(), _relative(absolute, folder))


def _relative(path: str, folder: Path) -> str | None:
    if not os.path.isfile(path):
        return None
    try:
        there = os.path.relpath(path, os.path.abspath(folder))
    except ValueError:  # another drive
        return None
    # "./": a colon in a name must not make it an address of another kind.
    return "./" + quote_from_bytes(os.fsencode(there.replace(os.sep, "/")))
