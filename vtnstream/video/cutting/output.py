"""The file that parts are written to: beside its place, and moved there when it is whole."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error

from vtnstream.errors import OutputError, VtnstreamError
from vtnstream.replacing import check_target, move_into_place
from vtnstream.video.container import output_url, reason_of
from vtnstream.video.cutting.edit_list import end_edit

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""Ending -> libav's name of the container."""

_MUXER = {"mp4": {"movflags": "+faststart"}, "mov": {"movflags": "+faststart"}}
_WRITE_ERRORS = (av.error.FFmpegError, OSError, ValueError)


@dataclass(slots=True)
class OutputFile:
    """A file that is being written.

    Attributes:
        container: ``av.container.OutputContainer``.
        shown_until: seconds of video that are shown; frames behind it are only decoded (MP4 and
            QuickTime). None for all.
        check: called with the file when it is whole, before it takes its name; raises an error
            to give it up.
    """

    container: Any
    shown_until: Fraction | None = None
    check: Callable[[Path], None] = lambda _: None

    @property
    def kind(self) -> str:
        """libav's name of the container."""
        return str(self.container.format.name)

    def copy_of(self, stream: Any) -> Any:
        """A stream that takes packets of a stream of the source as they are.

        Raises:
            ValueError: the container does not hold its codec.
        """
        # By codec, not by decoder: that of AV1 (libdav1d) has no encoder of its name.
        return self.container.add_stream_from_template(stream, opaque=True)

    @property
    def hides_frames(self) -> bool:
        """Frames behind the end can be decoded without being shown."""
        return self.kind in ("mp4", "mov")


@contextmanager
def output(target: Path, source: str | Path, *, overwrite: bool) -> Iterator[OutputFile]:
    """A new file that takes its name only when the context is left without an error.

    Args:
        target: the file; its ending chooses the container.
        source: the file that is read, which is never replaced.
        overwrite: replace ``target`` if it exists.

    Raises:
        OutputError: the ending is not known, ``target`` exists, or it cannot be written.
    """
    kind = CONTAINERS.get(target.suffix.lower())
    if kind is None:
        raise OutputError(f"{target}: cuts are written to {', '.join(CONTAINERS)} files")
    check_target(target, sources=[source], overwrite=overwrite)
    # A short name of its own: the target's may be as long as names can be.
    temporary = target.with_name(f".vtnstream-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with av.open(output_url(temporary), "w", format=kind, options=_MUXER.get(kind, {})) as out:
            file = OutputFile(out)
            yield file
        if file.shown_until is not None:
            end_edit(temporary, file.shown_until)
        file.check(temporary)
        move_into_place(temporary, target, overwrite=overwrite)
    except _WRITE_ERRORS as error:
        if isinstance(error, VtnstreamError):
            raise
        raise OutputError(
            f"{target}: the cut cannot be written ({reason_of(error)}); try another ending, or "
            "leave out --copy"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
