"""Create the output file: it is written under a temporary name and renamed when it is complete."""

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
"""Suffix -> libav's name of the container."""

_MUXER = {"mp4": {"movflags": "+faststart"}, "mov": {"movflags": "+faststart"}}
_WRITE_ERRORS = (av.error.FFmpegError, OSError, ValueError)


@dataclass(slots=True)
class OutputFile:
    """A file that is being written.

    Attributes:
        container: ``av.container.OutputContainer``.
        shown_until: seconds of video to display; later frames are only decoded (MP4 and QuickTime).
            None displays all.
        check: called with the complete file before it is renamed; an error discards the file.
    """

    container: Any
    shown_until: Fraction | None = None
    check: Callable[[Path], None] = lambda _: None

    @property
    def kind(self) -> str:
        """libav's name of the container."""
        return str(self.container.format.name)

    def copy_of(self, stream: Any) -> Any:
        """Add a stream that takes the packets of a source stream unchanged.

        Raises:
            ValueError: the container does not support its codec.
        """
        # Copy by codec, because the decoder of AV1 (libdav1d) has no encoder of the same name.
        return self.container.add_stream_from_template(stream, opaque=True)

    @property
    def hides_frames(self) -> bool:
        """Whether frames after the end can be decoded without being displayed."""
        return self.kind in ("mp4", "mov")


def container_of(target: Path) -> str:
    """Return the container that the suffix of a new video determines.

    Raises:
        OutputError: the suffix is not supported.
    """
    kind = CONTAINERS.get(target.suffix.lower())
    if kind is None:
        raise OutputError(f"{target}: cuts are written to {', '.join(CONTAINERS)} files")
    return kind


@contextmanager
def output(target: Path, source: str | Path, *, overwrite: bool) -> Iterator[OutputFile]:
    """Create a file that gets its name only if the context ends without an error.

    Args:
        target: the file; its suffix determines the container.
        source: the file that is read, which is never replaced.
        overwrite: replace ``target`` if it exists.

    Raises:
        OutputError: the suffix is not supported, ``target`` exists, or it cannot be written.
    """
    kind = container_of(target)
    check_target(target, sources=[source], overwrite=overwrite)
    # The temporary name is short, because the target's may have the maximum length.
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
