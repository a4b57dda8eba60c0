"""Write parts of a video as a new video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vtnstream.types import TimeRange
from vtnstream.video.cutting.output import CONTAINERS, container_of
from vtnstream.video.cutting.session import Cut, CuttingSession

ENDINGS = tuple(CONTAINERS)


def cut(
    source: str | Path,
    target: str | Path,
    parts: Sequence[TimeRange],
    *,
    encode: bool = True,
    overwrite: bool = False,
) -> float:
    """Write parts of a video, one after the other, to a new file.

    Args:
        source: a local video.
        target: the new file, which appears only when it is complete; its suffix determines the
            container.
        parts: in player time, each with an end, in order and not overlapping.
        encode: re-encode frames, with exact boundaries; otherwise packets are copied, and each part
            begins at the keyframe at or before its start.
        overwrite: replace ``target`` if it exists (the source is never replaced).

    Returns:
        Seconds of video written.

    Raises:
        OutputError: the file cannot be written or exists, or the video has no frame in the parts.
        VideoOpenError: the source cannot be opened.
    """
    with CuttingSession.of(source) as session:
        mode = "encode" if encode else "copy"
        return session.write(target, parts, mode=mode, overwrite=overwrite).seconds


__all__ = ["ENDINGS", "Cut", "CuttingSession", "container_of", "cut"]
