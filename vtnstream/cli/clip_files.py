"""Segments as files: what they are called, how they are cut, and what is said of each."""

from __future__ import annotations

import hashlib
import os
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.fields import attach, option
from vtnstream.errors import OutputError, UsageError, VtnstreamError
from vtnstream.registry import suggestion
from vtnstream.report.naming import MAX_NAME_BYTES, base_name

if TYPE_CHECKING:
    from vtnstream.types import Report, Segment, TimeRange
    from vtnstream.video.cut import Cut, CuttingSession

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_NAME = "{name}.{index:03}-{label}"
_JOINED = "{name}.clips"
_FIELDS = ("name", "stem", "index", "label", "start", "end", "score")
_LONGEST_LABEL = 60
_HASH_DIGITS = 16


def cutting(section: str) -> Callable[[F], F]:
    """Options that say how packets and frames go into clips."""
    return attach(
        option(
            "--copy",
            section=section,
            is_flag=True,
            help="Copy packets: fast, but each clip begins at the keyframe before it.",
        ),
        option(
            "--smart",
            section=section,
            is_flag=True,
            help="Copy packets and encode only frames near the ends: fast and exact (H.264, HEVC).",
        ),
    )


def naming(section: str) -> Callable[[F], F]:
    """The option that says what clips are called."""
    return attach(
        option(
            "--name",
            section=section,
            settable=False,
            metavar="TEMPLATE",
            help="Names of the clips, of {stem}, {name}, {index}, {label}, {start}, {end}, "
            f"{{score}} [default: {DEFAULT_NAME}].",
        )
    )


def mode_from(values: Mapping[str, Any]) -> str:
    """``encode``, ``copy`` or ``smart``."""
    return "copy" if values["copy"] else "smart" if values["smart"] else "encode"


@dataclass(frozen=True, slots=True)
class Clip:
    """A file to be.

    Attributes:
        name: of the file, with its ending.
        parts: of the video, in player time.
    """

    name: str
    parts: tuple[TimeRange, ...]


# -------------------------------------------------------------------------------- names


def numbered(report: Report) -> list[tuple[int, Segment]]:
    """The segments in the order of time with their numbers in the result, from 1: numbers do
    not change with the labels and scores that are chosen."""
    segments = sorted(report.segments or (), key=lambda s: (s.start, s.end))
    return list(enumerate(segments, 1))


def check_template(template: str) -> None:
    """Raises:
    UsageError: the template has unknown fields, or none that makes names differ.
    """
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise UsageError(f"--name {template}: {error}") from None
    for field in fields:
        if field not in _FIELDS:
            known = ", ".join(f"{{{name}}}" for name in _FIELDS)
            hint = suggestion(field, _FIELDS)
            raise UsageError(f"--name {template}: no field {{{field}}}{hint} (there are {known})")
    if not {"index", "start", "end"} & set(fields):
        raise UsageError(f"--name {template}: all clips would share a name: use {{index}}")
    try:
        template.format(name="", stem="", index=1, label="", start=0.0, end=1.0, score=1.0)
    except (ValueError, TypeError) as error:
        raise UsageError(f"--name {template}: {error}") from None


def clip_name(template: str, report: Report, index: int, segment: Segment, suffix: str) -> str:
    """The file name of a segment, never longer than file systems allow: the name of the video
    is cut then, and ends with its own hash."""
    name = base_name(report.input)
    stem = os.path.splitext(name)[0] or name
    rest = {
        "index": index,
        "label": _harmless(segment.label),
        "start": segment.start,
        "end": segment.end,
        "score": segment.score,
    }

    def filled(cut: int) -> str:
        whole = template.format(name=_shortened(name, cut), stem=_shortened(stem, cut), **rest)
        return whole.replace("/", "_").replace("\0", "_").lstrip(".") + suffix

    return _fitting(filled, len(os.fsencode(name)))


def _fitting(filled: Callable[[int], str], length: int) -> str:
    """The first name that file systems allow as the source's own is cut byte by byte."""
    for cut in range(length + 1):
        found = filled(cut)
        if len(os.fsencode(found)) <= MAX_NAME_BYTES:
            return found
    raise UsageError(f"--name gives names of more than {MAX_NAME_BYTES} bytes: shorten it")


def _shortened(name: str, cut: int) -> str:
    """``name`` without its last ``cut`` bytes, which a hash of it stands for."""
    if not cut:
        return name
    data = os.fsencode(name)
    kept = os.fsdecode(data[: max(0, len(data) - cut)])
    # A character that was cut through decodes to surrogates.
    kept = kept.rstrip("".join(map(chr, range(0xDC80, 0xDD00))))
    return f"{kept}~{hashlib.sha256(data).hexdigest()[:_HASH_DIGITS]}"


def _harmless(label: str) -> str:
    """A label as a part of a file's name."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in label)[:_LONGEST_LABEL] or "_"


# -------------------------------------------------------------------------------- clips


def suffix_for(video: Path) -> str:
    """The ending of clips: the video's own where clips can have it."""
    from vtnstream.video.cut import ENDINGS

    own = video.suffix.lower()
    return own if own in ENDINGS else ".mp4"


def separate(
    report: Report,
    chosen: Sequence[tuple[int, Segment]],
    template: str,
    suffix: str,
    pad: float = 0.0,
) -> list[Clip]:
    """One clip for each segment.

    Raises:
        UsageError: two of them would share a name.
    """
    clips = [
        Clip(clip_name(template, report, index, segment, suffix), (_padded(segment, pad),))
        for index, segment in chosen
    ]
    names: set[str] = set()
    for clip in clips:
        if clip.name.casefold() in names:
            raise UsageError(f"--name {template}: gives {clip.name} twice: use {{index}}")
        names.add(clip.name.casefold())
    return clips


def joined(
    report: Report, chosen: Sequence[tuple[int, Segment]], suffix: str, pad: float = 0.0
) -> Clip:
    """All segments in one clip; those that overlap become one part."""
    from vtnstream.types import TimeRange

    parts: list[TimeRange] = []
    for _, segment in chosen:
        part = _padded(segment, pad)
        last = parts[-1] if parts else None
        if last is not None and last.end is not None and part.start < last.end:
            parts[-1] = TimeRange(last.start, max(part.end or last.end, last.end))
        else:
            parts.append(part)
    name = base_name(report.input)
    return Clip(
        _fitting(
            lambda cut: _JOINED.format(name=_shortened(name, cut)) + suffix, len(os.fsencode(name))
        ),
        tuple(parts),
    )


def _padded(segment: Segment, pad: float) -> TimeRange:
    from vtnstream.types import TimeRange

    start = max(Fraction(segment.start) - Fraction(pad), Fraction(0))
    return TimeRange(start, Fraction(segment.end) + Fraction(pad))


def write_clips(
    console: Console,
    video: str | Path,
    stream: int | None,
    clips: Sequence[Clip],
    folder: Path,
    *,
    mode: str,
    overwrite: bool,
) -> None:
    """Cut clips into a folder, each for itself: one that fails is one line, and the next goes on.

    Args:
        console: told of each clip.
        video: a local file.
        stream: index of its video stream that the result is about.
        clips: in the order of time.
        folder: made where it does not exist.
        mode: of :meth:`vtnstream.video.cut.CuttingSession.write`.
        overwrite: replace clips that exist.

    Raises:
        OutputError: the folder cannot be made, or clips failed (the last line says how many).
        VideoError: the video cannot be opened.
    """
    from vtnstream.video.cut import CuttingSession

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror})") from error
    failed = 0
    with CuttingSession.of(video, stream) as session:
        for clip in clips:
            try:
                write_clip(console, session, folder / clip.name, clip.parts, mode, overwrite)
            except VtnstreamError as error:
                if len(clips) == 1:
                    raise
                failed += 1
                console.traceback(error)
                console.error(str(error))
    if failed:
        raise OutputError(f"{video}: {failed} of {len(clips)} clips could not be written")


def write_clip(
    console: Console,
    session: CuttingSession,
    target: Path,
    parts: Sequence[TimeRange],
    mode: str,
    overwrite: bool,
) -> None:
    """Cut one file, and say what it came to.

    Raises:
        VtnstreamError: it could not be written.
    """
    cut = session.write(target, parts, mode=mode, overwrite=overwrite)
    console.say(f"wrote {target} ({described(cut, mode)})")
    for note in cut.notes:
        console.warn(f"{target}: {note}")


def described(cut: Cut, mode: str) -> str:
    """``4.0 s``, and where copied packets begin."""
    text = f"{cut.seconds:.1f} s"
    if mode != "copy" or not cut.starts:
        return text
    from vtnstream.timecode import format_time

    return f"{text}, from the keyframe at {format_time(Fraction(cut.starts[0]), digits=2)}"
