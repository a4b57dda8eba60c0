"""Write frames of a video for the shots of a report: one image each, or contact sheets.

The frame of a segment is the one that is displayed in its middle. Where shots are numbered, only
shots have an image, otherwise every segment has one. This is the only module of the package that
imports Pillow.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtnstream.report.naming import file_name, safe_label
from vtnstream.report.terminal.glyphs import printable
from vtnstream.timecode import format_time
from vtnstream.types import Report, Segment

IMAGES, SHEETS = "images", "contact-sheet"
Pixels = NDArray[np.uint8]
SpanFrames = Callable[[Sequence[tuple[float, float]], int | None], Iterator[Pixels | None]]
"""(spans in the order of their middles, longest side in pixels or None) -> the frame in the middle
of each span, or None where none could be decoded."""

_FOLDER, _SHEET = ".images", ".contact-sheet"
_OWN_IMAGE = re.compile(r"(?:shot-)?\d{3,}_\d+-\d\d-\d\d\.\d{3}(?:_[^/]*)?\.jpg")
_QUALITY = 90
_CELL = 240
"""Longest side of a frame on a contact sheet, in pixels."""
_NARROWEST = 112
"""Smallest width of a cell, which holds its caption."""
_SHEET_SIDE = 2000
"""Largest width and height of a contact sheet, in pixels."""
_GAP, _CAPTION, _HEAD = 8, 20, 32
_BACKGROUND, _INK, _EMPTY = "#ffffff", "#333333", "#dddddd"


@dataclass(frozen=True, slots=True)
class Pictured:
    """A segment with an image.

    Attributes:
        number: of the shot; without numbered shots that of the segment in order of time.
        segment: the segment.
    """

    number: int
    segment: Segment

    @property
    def middle(self) -> float:
        """The time of the image in seconds."""
        return (self.segment.start + self.segment.end) / 2


def pictured(report: Report) -> list[Pictured]:
    """Return the segments that have an image, in the order of their images."""
    ordered = sorted(report.segments or (), key=lambda s: (s.start, s.end))
    shots = [Pictured(s.shot, s) for s in ordered if s.shot is not None]
    found = shots or [Pictured(number, s) for number, s in enumerate(ordered, 1)]
    return sorted(found, key=lambda one: one.middle)


@dataclass(frozen=True, slots=True)
class PictureSet:
    """The files of one report, whose names are known before any frame is decoded.

    Attributes:
        report: the report.
        base: file name without a suffix.
        formats: names of the formats, :data:`IMAGES` and :data:`SHEETS`.
        shown: the segments with images.
    """

    report: Report
    base: str
    formats: frozenset[str]
    shown: tuple[Pictured, ...]

    @classmethod
    def of(cls, report: Report, base: str, formats: Collection[str]) -> PictureSet:
        """Return the files of these formats."""
        return cls(report, base, frozenset(formats), tuple(pictured(report)))

    def names(self) -> list[str]:
        """Return the names of all files relative to the output folder."""
        images = [self._image_name(one) for one in self.shown] if IMAGES in self.formats else []
        sheets = self._sheet_names(self._layout()) if SHEETS in self.formats else []
        return [*images, *sheets]

    def is_own(self, name: str) -> bool:
        """Return whether a name may be that of a file which an earlier run wrote here."""
        folder, _, rest = name.rpartition("/")
        if IMAGES in self.formats and folder == file_name(self.base, _FOLDER):
            return _OWN_IMAGE.fullmatch(rest) is not None
        sheet = re.escape(self.base + _SHEET) + r"(?:-\d+)?\.jpg"
        return SHEETS in self.formats and re.fullmatch(sheet, name) is not None

    def folders(self) -> list[str]:
        """Return the folders of the files, relative to the output folder."""
        images = [file_name(self.base, _FOLDER)] if IMAGES in self.formats else []
        return [*images, *([""] if SHEETS in self.formats else [])]

    def files(self, frames: SpanFrames, missing: list[str]) -> Iterator[tuple[str, bytes]]:
        """Yield the name and content of each file; frames are held one at a time.

        Args:
            frames: reads the frames.
            missing: receives the names of the segments of which no frame could be decoded.
        """
        longest = None if IMAGES in self.formats else _CELL
        layout = self._layout()
        names = iter(self._sheet_names(layout))
        sheet: _Sheet | None = None
        spans = [(one.segment.start, one.segment.end) for one in self.shown]
        for place, (one, pixels) in enumerate(
            zip(self.shown, frames(spans, longest), strict=True), 1
        ):
            if pixels is None:
                missing.append(one.segment.name)
            elif IMAGES in self.formats:
                yield self._image_name(one), _jpeg(_image(pixels))
            if SHEETS not in self.formats:
                continue
            sheet = sheet or _Sheet(layout, self._title(place, layout), len(self.shown) - place + 1)
            sheet.add(one, pixels)
            if sheet.is_full or place == len(self.shown):
                yield next(names), sheet.jpeg()
                sheet = None

    def _image_name(self, one: Pictured) -> str:
        """Return ``movie.mkv.images/shot-012_0-01-23.480.jpg``."""
        width = max(3, len(str(max(p.number for p in self.shown))))
        milliseconds = int(one.middle * 1000)
        clock = f"{milliseconds // 3_600_000}-{milliseconds // 60_000 % 60:02}"
        clock += f"-{milliseconds // 1000 % 60:02}.{milliseconds % 1000:03}"
        lead, label = ("shot-", "") if one.segment.shot is not None else ("", one.segment.label)
        ending = f"_{safe_label(label)}" if label else ""
        name = f"{lead}{one.number:0{width}}_{clock}{ending}.jpg"
        return f"{file_name(self.base, _FOLDER)}/{name}"

    def _layout(self) -> _Layout:
        return _Layout.of(self.report.video.width, self.report.video.height)

    def _sheet_names(self, layout: _Layout) -> list[str]:
        count = -(-len(self.shown) // layout.cells)
        if count <= 1:
            return [file_name(self.base, f"{_SHEET}.jpg")] * count
        width = len(str(count))
        return [file_name(self.base, f"{_SHEET}-{k:0{width}}.jpg") for k in range(1, count + 1)]

    def _title(self, first: int, layout: _Layout) -> str:
        last = min(first + layout.cells - 1, len(self.shown))
        return f"{printable(self.base)}   {first}-{last} of {len(self.shown)}"


@dataclass(frozen=True, slots=True)
class _Layout:
    """The grid of a contact sheet: size of its frames, columns and rows."""

    width: int
    height: int
    columns: int
    rows: int

    @classmethod
    def of(cls, width: int, height: int) -> _Layout:
        """Return the grid for frames of a shape."""
        scale = _CELL / max(width, height, 1)
        across, down = max(round(width * scale), _NARROWEST), max(round(height * scale), 1)
        columns = (_SHEET_SIDE - _GAP) // (across + _GAP)
        rows = (_SHEET_SIDE - _HEAD) // (down + _CAPTION + _GAP)
        return cls(across, down, max(columns, 1), max(rows, 1))

    @property
    def cells(self) -> int:
        return self.columns * self.rows


class _Sheet:
    """One contact sheet that is being filled.

    Args:
        layout: its grid.
        title: text above the frames.
        left: number of segments that are left to be shown, for a sheet that stays smaller.
    """

    def __init__(self, layout: _Layout, title: str, left: int) -> None:
        from PIL import Image, ImageDraw, ImageFont

        self._layout, self._count = layout, 0
        columns, rows = min(layout.columns, left), min(-(-left // layout.columns), layout.rows)
        width = max(columns * (layout.width + _GAP) + _GAP, 3 * _CELL // 2)
        height = rows * (layout.height + _CAPTION + _GAP) + _HEAD
        self._image = Image.new("RGB", (width, height), _BACKGROUND)
        self._draw = ImageDraw.Draw(self._image)
        self._font = ImageFont.load_default(13)
        self._draw.text((_GAP, _GAP), title, fill=_INK, font=self._font)

    @property
    def is_full(self) -> bool:
        return self._count == self._layout.cells

    def add(self, one: Pictured, pixels: Pixels | None) -> None:
        """Add the frame of a segment, with its number and start; grey if there is no frame."""
        layout = self._layout
        row, column = divmod(self._count, layout.columns)
        left = _GAP + column * (layout.width + _GAP)
        top = _HEAD + row * (layout.height + _CAPTION + _GAP)
        if pixels is None:
            box = (left, top, left + layout.width - 1, top + layout.height - 1)
            self._draw.rectangle(box, fill=_EMPTY)
        else:
            image = _image(pixels)
            image.thumbnail((layout.width, layout.height))
            spare = layout.width - image.width, layout.height - image.height
            self._image.paste(image, (left + spare[0] // 2, top + spare[1] // 2))
        caption = f"{one.number}  {format_time(one.segment.start, digits=2)}"
        if one.segment.shot is None:
            caption += f"  {printable(one.segment.label)}"
        fitting = self._fitting(caption, layout.width)
        self._draw.text((left, top + layout.height + 2), fitting, fill=_INK, font=self._font)
        self._count += 1

    def _fitting(self, text: str, width: int) -> str:
        while len(text) > 1 and self._draw.textlength(text, font=self._font) > width:
            text = text[:-1]
        return text

    def jpeg(self) -> bytes:
        return _jpeg(self._image)


def _image(pixels: Pixels) -> Any:
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(pixels))


def _jpeg(image: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()
