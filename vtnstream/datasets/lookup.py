"""Videos of a dataset that annotations name by an id instead of a path."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

from vtnstream.errors import AnnotationError
from vtnstream.suffixes import VIDEO_SUFFIXES


class VideoFolder:
    """All videos below a folder, by their names without suffix.

    Args:
        root: the folder.
        source: the annotation file, for messages.

    Raises:
        AnnotationError: the folder is none.
    """

    def __init__(self, root: Path, source: Path) -> None:
        if not root.is_dir():
            raise AnnotationError(
                f"{source}: its videos should lie in {root}, which is not a folder"
            )
        self.root = root
        self._source = source
        self._found: dict[str, list[Path]] = {}
        for directory, _, files in os.walk(root):
            for name in sorted(files):
                stem, suffix = os.path.splitext(name)
                if suffix.lower() in VIDEO_SUFFIXES and not name.startswith("."):
                    self._found.setdefault(stem, []).append(Path(directory, name))

    def find(self, *stems: str) -> Path:
        """The video with the first of these names; where there is none, the path it should
        have had.

        Raises:
            AnnotationError: two videos have the name.
        """
        for stem in stems:
            paths = self._found.get(stem, [])
            if len(paths) > 1:
                raise AnnotationError(
                    f"{self._source}: {stem} may be {paths[0]} or {paths[1]}: name the folder of "
                    "the right ones"
                )
            if paths:
                return paths[0]
        return self.root / f"{stems[0]}.mp4"


def read_text(path: Path) -> str:
    """A text file in UTF-8, or in UTF-16 as spreadsheets write it.

    Raises:
        AnnotationError: it cannot be read; names the line that is not UTF-8.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        return data.decode(_encoding(data)).lstrip("\ufeff")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise AnnotationError(f"{path}: line {line} is not UTF-8: save it as UTF-8") from error


def decoded(data: bytes) -> str:
    """The beginning of a text file, as far as it can be read."""
    return data.decode(_encoding(data), "replace").lstrip("\ufeff")


def _encoding(data: bytes) -> str:
    """The encoding by its mark, or by the zero bytes that UTF-16 has between Latin letters."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    head = data[:512]
    if len(head) >= 4 and head[1::2].count(0) > len(head) // 4 and not head[::2].count(0):
        return "utf-16-le"
    if len(head) >= 4 and head[::2].count(0) > len(head) // 4 and not head[1::2].count(0):
        return "utf-16-be"
    return "utf-8-sig"
