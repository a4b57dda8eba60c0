"""Locate the video relative to the folder of a result."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_from_bytes

from vtnstream.report.naming import base_name
from vtnstream.types import Report


@dataclass(frozen=True, slots=True)
class Place:
    """The video of a result, for formats that refer to it.

    Attributes:
        name: its file name.
        url: its absolute address, ``file:///...`` for a file.
        relative: its address relative to the folder of the result; None if it is not an existing
            file.
    """

    name: str
    url: str
    relative: str | None = None

    @classmethod
    def of(cls, report: Report, folder: Path, video: str | Path | None = None) -> Place:
        """Return the place of a report's video.

        Args:
            report: its ``input`` names the video.
            folder: of the result.
            video: current path of the video; None uses the ``input`` of the report.
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
    # "./" keeps a colon in a name from being read as the scheme of an address.
    return "./" + quote_from_bytes(os.fsencode(there.replace(os.sep, "/")))
