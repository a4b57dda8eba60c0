"""Write segments as clips: name the files, cut them, and print one line for each."""

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
from vtnstream.report.naming import MAX_NAME_BYTES, base_name, safe_label

if TYPE_CHECKING:
    from vtnstream.types import Report, Segment, TimeRange
    from vtnstream.video.cut import Cut, CuttingSession

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_NAME = "{name}.{index:03}-{label}"
_JOINED = "{name}.clips"
_FIELDS = ("name", "stem", "index", "label", "shot", "title", "start", "end", "score")
_UNIQUE = frozenset(("index", "shot", "title", "start", "end"))
"""Fields of which one at least makes the names of clips differ."""
_HASH_DIGITS = 16


def cutting(section: str) -> Callable[[F], F]:
    """Return the options that select whether clips are encoded or copied."""
    return attach(
        option(
            "--copy",
            section=section,
            is_flag=True,
            help="Copy packets instead of encoding: fast, but clips begin at a keyframe.",
        ),
        option(
            "--smart",
            section=section,
            is_flag=True,
            help="Copy packets, encode only near the ends: fast and exact (H.264, HEVC).",
        ),
    )


def naming(section: str) -> Callable[[F], F]:
    """Return the option for the names of clips."""
    return attach(
        option(
            "--name",
            section=section,
            settable=False,
            metavar="TEMPLATE",
            help="Names of the clips, with the fields {stem}, {name}, {index}, {label}, {shot}, "
            f"{{title}}, {{start}}, {{end}}, {{score}} [default: {DEFAULT_NAME}].",
        )
    )


def mode_from(values: Mapping[str, Any]) -> str:
    """Return the mode that the options select: ``encode``, ``copy`` or ``smart``."""
    return "copy" if values["copy"] else "smart" if values["smart"] else "encode"


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip to write.

    Attributes:
        name: name of the file with its suffix.
        parts: parts of the video in player time.
    """

    name: str
    parts: tuple[TimeRange, ...]


# -------------------------------------------------------------------------------- names


def numbered(report: Report) -> list[tuple[int, Segment]]:
    """Number the segments in order of time, from 1.

    The numbers do not depend on the labels and scores that are selected.
    """
    segments = sorted(report.segments or (), key=lambda s: (s.start, s.end))
    return list(enumerate(segments, 1))


def check_template(template: str) -> None:
    """Check the template of clip names.

    Raises:
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
    if not _UNIQUE & set(fields):
        raise UsageError(f"--name {template}: all clips would share a name: use {{index}}")
    try:
        numbers = {"index": 1, "shot": 1, "start": 0.0, "end": 1.0, "score": 1.0}
        template.format(name="", stem="", label="", title="", **numbers)
    except (ValueError, TypeError) as error:
        raise UsageError(f"--name {template}: {error}") from None


def _clip_name(template: str, report: Report, index: int, segment: Segment, suffix: str) -> str:
    """Return the file name of a segment.

    If it is too long for file systems, the name of the video in it is shortened and ends with a
    hash.
    """
    name = base_name(report.input)
    stem = os.path.splitext(name)[0] or name
    rest = {
        "index": index,
        "label": safe_label(segment.label),
        "shot": _shot_number(report, segment),
        "title": _title(segment),
        "start": segment.start,
        "end": segment.end,
        "score": segment.score,
    }

    def filled(cut: int) -> str:
        whole = template.format(name=_shortened(name, cut), stem=_shortened(stem, cut), **rest)
        return whole.replace("/", "_").replace("\0", "_").lstrip(".") + suffix

    return _fitting(filled, len(os.fsencode(name)))


def _title(segment: Segment) -> str:
    """Return the label as part of a file name, for a shot with its number: ``shot-12``."""
    label = safe_label(segment.label)
    return label if segment.shot is None else f"{label}-{segment.shot}"


def _shot_number(report: Report, segment: Segment) -> int:
    """Return the number of a shot; for other segments that of the last shot that begins before, or
    0."""
    if segment.shot is not None:
        return segment.shot
    before = (s.shot for s in report.segments or () if s.start < segment.start)
    return max((shot for shot in before if shot is not None), default=0)


def _fitting(filled: Callable[[int], str], length: int) -> str:
    """Shorten the name of the source byte by byte until file systems allow the result."""
    for cut in range(length + 1):
        found = filled(cut)
        if len(os.fsencode(found)) <= MAX_NAME_BYTES:
            return found
    raise UsageError(f"--name makes names of more than {MAX_NAME_BYTES} bytes: shorten it")


def _shortened(name: str, cut: int) -> str:
    """Return ``name`` with its last ``cut`` bytes replaced by a hash of the whole name."""
    if not cut:
        return name
    data = os.fsencode(name)
    kept = os.fsdecode(data[: max(0, len(data) - cut)])
    # An incomplete character at the end decodes to surrogates.
    kept = kept.rstrip("".join(map(chr, range(0xDC80, 0xDD00))))
    return f"{kept}~{hashlib.sha256(data).hexdigest()[:_HASH_DIGITS]}"


# -------------------------------------------------------------------------------- clips


_OFTEN_NOT_FOR_MP4 = (".webm", ".ogv", ".ogg")
"""Suffixes of formats whose usual codecs MP4 does not support, and Matroska does."""


def suffix_for(video: Path, mode: str) -> str:
    """Return the suffix of clips: that of the video if it is supported, else ``.mp4``.

    If packets are copied from a format with codecs that MP4 does not support, it is ``.mkv``.
    """
    from vtnstream.video.cut import ENDINGS

    own = video.suffix.lower()
    if own in _OFTEN_NOT_FOR_MP4 and mode != "encode":
        return ".mkv"
    return own if own in ENDINGS else ".mp4"


def folder_and_name(output: Path) -> tuple[Path, str | None]:
    """Return the output folder, and the name of the one file if ``-o`` names a video file rather
    than a folder."""
    from vtnstream.video.cut import ENDINGS

    if output.suffix.lower() in ENDINGS and not output.is_dir():
        return output.parent, output.name
    return output, None


def separate(
    report: Report,
    chosen: Sequence[tuple[int, Segment]],
    template: str,
    suffix: str,
    pad: float = 0.0,
) -> list[Clip]:
    """Make one clip per segment.

    Raises:
        UsageError: two clips would have the same name, or the template numbers shots and the
            result has none.
    """
    numbered_shots = any(segment.shot is not None for segment in report.segments or ())
    if "{shot" in template and not numbered_shots:
        raise UsageError(f"--name {template}: {report.input} has no numbered shots: use {{index}}")
    clips = [
        Clip(_clip_name(template, report, index, segment, suffix), (_padded(segment, pad),))
        for index, segment in chosen
    ]
    names: set[str] = set()
    for clip in clips:
        if clip.name.casefold() in names:
            raise UsageError(f"--name {template}: two clips are named {clip.name}: use {{index}}")
        names.add(clip.name.casefold())
    return clips


def joined(
    report: Report,
    chosen: Sequence[tuple[int, Segment]],
    suffix: str,
    pad: float = 0.0,
    *,
    name: str | None = None,
) -> Clip:
    """Make one clip of all segments; overlapping segments become one part. ``name`` is that of its
    file, by default one that is made from the input's name."""
    from vtnstream.types import TimeRange

    parts: list[TimeRange] = []
    for _, segment in chosen:
        part = _padded(segment, pad)
        last = parts[-1] if parts else None
        if last is not None and last.end is not None and part.start < last.end:
            parts[-1] = TimeRange(last.start, max(part.end or last.end, last.end))
        else:
            parts.append(part)
    if name is not None:
        return Clip(name, tuple(parts))
    base = base_name(report.input)
    return Clip(
        _fitting(
            lambda cut: _JOINED.format(name=_shortened(base, cut)) + suffix, len(os.fsencode(base))
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
    """Cut clips into a folder. A clip that fails prints one error and does not stop the others.

    Args:
        console: prints one line per clip.
        video: a local file.
        stream: index of the analysed video stream.
        clips: the clips in order of time.
        folder: output folder, created if it does not exist.
        mode: mode of :meth:`vtnstream.video.cut.CuttingSession.write`.
        overwrite: whether existing clips are replaced.

    Raises:
        OutputError: the folder cannot be created, or clips failed (the message says how many).
        VideoError: the video cannot be opened.
    """
    from vtnstream.video.cut import CuttingSession

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be created ({error.strerror})") from error
    failed = 0
    told: set[str] = set()
    with CuttingSession.of(video, stream) as session:
        for clip in clips:
            try:
                target = folder / clip.name
                notes = write_clip(console, session, target, clip.parts, mode, overwrite)
                for note in notes:
                    if note not in told:  # most notes concern the video, so every clip has them
                        console.warn(f"{video}: {note}")
                told.update(notes)
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
) -> tuple[str, ...]:
    """Cut one clip and print what was written.

    Returns:
        What differs from the video, a sentence each.

    Raises:
        VtnstreamError: the clip could not be written.
    """
    cut = session.write(target, parts, mode=mode, overwrite=overwrite)
    console.say(f"wrote {target} ({described(cut, mode)})")
    return cut.notes


def described(cut: Cut, mode: str) -> str:
    """Return a description of a clip: its duration, and for copied packets the time of the first
    keyframe."""
    text = f"{cut.seconds:.1f} s"
    if mode != "copy" or not cut.starts:
        return text
    from vtnstream.timecode import format_time

    return f"{text}, from the keyframe at {format_time(Fraction(cut.starts[0]), digits=2)}"
