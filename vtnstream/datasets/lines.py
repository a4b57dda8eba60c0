"""Annotations in memory: which video, or which part of it, shows what."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from vtnstream.config.class_heads import full_label
from vtnstream.errors import AnnotationError
from vtnstream.labels import normal_form
from vtnstream.timecode import FrameCount

Time = Fraction | FrameCount

SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing"),
}
_SHOWN_MISSING = 5


@dataclass(frozen=True, slots=True)
class Annotation:
    """One line: a label for the span ``[start, end)``, or for all of the video (None).

    ``parts`` has one label for each of several class heads, ``HEAD:LABEL``; ``label`` is then their
    combination.
    """

    label: str
    start: Time | None = None
    end: Time | None = None
    line: int = 0
    parts: tuple[str, ...] = ()

    @classmethod
    def of_heads(
        cls,
        labels: Mapping[str, str],
        start: Time | None = None,
        end: Time | None = None,
        line: int = 0,
    ) -> Annotation:
        """Return the annotation with one label for each class head, by the name of the head."""
        parts = tuple(full_label(head, label) for head, label in labels.items())
        return cls(" ".join(labels.values()), start, end, line, parts)

    @property
    def is_segment(self) -> bool:
        return self.start is not None

    @property
    def class_labels(self) -> tuple[str, ...]:
        """One label for each class head, as the model names them."""
        return self.parts or (self.label,)


@dataclass(frozen=True, slots=True)
class AnnotatedVideo:
    """One video and every line about it; ``fold``, ``group`` and ``split`` as in the file.

    ``annotations`` is empty for a video without segments, ``length`` where the annotations end,
    if the file says it.
    """

    path: Path
    annotations: tuple[Annotation, ...]
    fold: str | None = None
    group: str | None = None
    split: str | None = None
    length: Time | None = None

    @property
    def line(self) -> int:
        """Line of the first annotation, 0 without one."""
        return self.annotations[0].line if self.annotations else 0


@dataclass(frozen=True, slots=True)
class Annotations:
    """A whole annotation file.

    Attributes:
        source: the file.
        videos: in order of first mention.
        labels: all labels in alphabetical order; those of several class heads one head after the
            other.
        has_segments: its lines are segments, not classes of whole videos.
        warnings: what was read but may not be meant.
        heads: names of the class heads if there are several; segments may then overlap, since each
            is a clip of its own.
    """

    source: Path
    videos: tuple[AnnotatedVideo, ...]
    labels: tuple[str, ...]
    has_segments: bool
    warnings: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()

    @property
    def are_clips(self) -> bool:
        """Whether each segment is a clip to classify, not a part of a timeline."""
        return self.has_segments and bool(self.heads)

    def missing(self) -> tuple[AnnotatedVideo, ...]:
        """Videos that are no file on this machine."""
        return tuple(video for video in self.videos if not video.path.is_file())


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an annotation file, whatever its format.

    ``annotation`` is None where the file names a video without segments.
    """

    path: Path
    annotation: Annotation | None
    fold: str | None = None
    group: str | None = None
    split: str | None = None
    length: Time | None = None
    number: int = 0

    @property
    def line(self) -> int:
        """Number of the line in its file."""
        return self.number if self.annotation is None else self.annotation.line


def split_named(text: str | None, where: str) -> str | None:
    """``train``, ``validation`` or ``test`` for the names that files give them.

    Raises:
        AnnotationError: no such split.
    """
    if not text:
        return None
    for name, aliases in SPLITS.items():
        if text.lower() in aliases:
            return name
    raise AnnotationError(f"{where}: split {text!r} is none of {', '.join(SPLITS)}")


def refuse_missing(annotations: Annotations) -> None:
    """Raises:
    AnnotationError: some videos do not exist; lists the first of them with their lines.
    """
    gone = annotations.missing()
    if not gone:
        return
    shown = ", ".join(f"line {v.line} {v.path}" for v in gone[:_SHOWN_MISSING])
    more = f" and {len(gone) - _SHOWN_MISSING} more" if len(gone) > _SHOWN_MISSING else ""
    raise AnnotationError(
        f"{annotations.source}: {len(gone)} of {len(annotations.videos)} videos do not exist: "
        f"{shown}{more} (paths are relative to the folder of this file)"
    )


def check_overlaps(annotations: Iterable[Annotation], where: str) -> None:
    """One label at a time: segments of a video may touch but not overlap. Frame counts and
    seconds are compared among themselves only, until the video's rate is known.

    Raises:
        AnnotationError: two segments overlap; names both lines.
    """
    seconds: list[tuple[Fraction, Fraction, int]] = []
    frames: list[tuple[Fraction, Fraction, int]] = []
    for item in annotations:
        if isinstance(item.start, Fraction) and isinstance(item.end, Fraction):
            seconds.append((item.start, item.end, item.line))
        elif isinstance(item.start, FrameCount) and isinstance(item.end, FrameCount):
            frames.append((Fraction(item.start.frames), Fraction(item.end.frames), item.line))
    for spans in (sorted(seconds), sorted(frames)):
        for before, after in pairwise(spans):
            if after[0] < before[1]:
                first, second = sorted((before[2], after[2]))
                raise AnnotationError(
                    f"{where}: the segments of lines {first} and {second} overlap; "
                    "each moment has one label"
                )


def normalized(lines: Sequence[Line]) -> list[Line]:
    """Lines with labels in one Unicode form, and paths in the form that the disk has."""
    found = []
    for line in lines:
        item = line.annotation
        if item is not None and not item.label.isascii():
            parts = tuple(map(normal_form, item.parts))
            line = replace(
                line, annotation=replace(item, label=normal_form(item.label), parts=parts)
            )
        if not line.path.name.isascii() and not line.path.exists():
            forms = (unicodedata.normalize(form, str(line.path)) for form in ("NFC", "NFD"))
            existing = next((Path(form) for form in forms if Path(form).exists()), line.path)
            line = replace(line, path=existing)
        found.append(line)
    return found


def _identity(path: Path) -> object:
    """What two paths of one file have in common; of a file that is not there, its name."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return normal_form(os.path.normpath(path))
    return status.st_dev, status.st_ino


def gathered(
    path: Path, lines: Sequence[Line], *, overlapping: bool = False
) -> tuple[tuple[AnnotatedVideo, ...], tuple[str, ...]]:
    """Gather lines by video, in order of first mention.

    A repeated line counts once, and a contradiction is refused. With ``overlapping``, segments
    stay as they are given, twice where they stand twice: evaluation counts them so.

    Returns:
        The videos, and a sentence for each line that was left out.
    """
    by_video: dict[object, list[Line]] = {}
    for line in lines:
        by_video.setdefault(_identity(line.path), []).append(line)
    warnings: list[str] = []
    videos: list[AnnotatedVideo] = []
    for group in by_video.values():
        first = group[0]
        file = first.path
        other = next((line for line in group if line.path != file), None)
        if other is not None:
            warnings.append(f"{path}: line {other.line}: {other.path} is the same video as {file}")
        for line in group[1:]:
            if (line.fold, line.group, line.split) != (first.fold, first.group, first.split):
                raise AnnotationError(
                    f"{path}: line {line.line} puts {file.name} into another fold, "
                    f"scene or split than line {first.line}"
                )
        kept = list(_without_repeats(path, file, group, warnings, overlapping))
        videos.append(
            AnnotatedVideo(file, tuple(kept), first.fold, first.group, first.split, first.length)
        )
    return tuple(videos), tuple(warnings)


def _without_repeats(
    path: Path, file: Path, group: Sequence[Line], warnings: list[str], overlapping: bool
) -> Iterator[Annotation]:
    seen: dict[tuple[object, ...], Annotation] = {}
    for line in group:
        item = line.annotation
        if item is None:
            continue
        if overlapping and item.is_segment:
            yield item
            continue
        if item.is_segment and item.start == item.end:
            warnings.append(f"{path}: line {item.line} is of no length, left out")
            continue
        other = seen.setdefault((item.start, item.end), item)
        if other is item:
            yield item
        elif other.label == item.label:
            warnings.append(f"{path}: line {item.line} repeats line {other.line}")
        else:
            raise AnnotationError(
                f"{path}: line {item.line} calls {file.name} {item.label!r}, "
                f"line {other.line} calls it {other.label!r}: one label each"
            )
