"""Cholec80's phases: ``videoNN-phase.txt``, a table ``Frame<TAB>Phase`` with a line for each
frame of the video."""

from __future__ import annotations

from pathlib import Path

from vtnstream.datasets.lines import Line
from vtnstream.datasets.lookup import VideoFolder, read_text
from vtnstream.datasets.ms_tcn import frame_lines
from vtnstream.errors import AnnotationError

_SUFFIX = "-phase.txt"
_LAST_FRAME = 10_000_000
"""Four days at 25 frames/s: what is beyond is no number of a frame."""


def read_cholec80(path: Path, videos: Path | None = None) -> tuple[list[Line], list[str]]:
    """Phases of all operations, in frames.

    Args:
        path: the folder with the phase files, or the one above it, or one such file.
        videos: folder of the videos; None looks below ``path`` and beside it.

    Raises:
        AnnotationError: a wrong line (with file and number).
    """
    files = [path] if path.is_file() else sorted(path.rglob(f"*{_SUFFIX}"))
    root = videos or (path.parent if path.is_file() else path)
    folder = VideoFolder(root, path)
    lines: list[Line] = []
    for file in files:
        video = folder.find(file.name.removesuffix(_SUFFIX))
        lines += frame_lines(video, _phases(file))
    return lines, []


def _phases(file: Path) -> list[str]:
    """The phase of each frame; a frame without a line has that of the one before it."""
    phases: list[str] = []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        cells = line.strip().split("\t")
        if not line.strip() or (number == 1 and not cells[0].isdecimal()):
            continue
        if len(cells) != 2 or not cells[0].isdecimal() or not cells[1].strip():
            raise AnnotationError(f"{file}: line {number}: not frame, tab, phase: {line!r}")
        frame = int(cells[0])
        if frame > _LAST_FRAME:
            raise AnnotationError(f"{file}: line {number}: frame {frame} is days into the video")
        if frame < len(phases):
            raise AnnotationError(f"{file}: line {number}: frame {frame} comes twice or too late")
        phases += [phases[-1] if phases else cells[1].strip()] * (frame - len(phases))
        phases.append(cells[1].strip())
    return phases
