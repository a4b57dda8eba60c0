"""Draw thumbnails of segments in a terminal: by its own protocol for images, or as half blocks.

Kitty's protocol and that of iTerm2 are used in terminals that are known to support them, by the
variables of the environment that these terminals set; nothing is asked of the terminal, because
its answer would come on standard input. Elsewhere, and inside tmux or screen, each character
shows two pixels, which needs 24-bit colour.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image
from rich.console import Console, ConsoleOptions, RenderResult
from rich.control import Control
from rich.segment import ControlType
from rich.segment import Segment as Cells
from rich.text import Text

from vtnstream.report.terminal.canvas import Canvas
from vtnstream.report.terminal.legend import Legend
from vtnstream.timecode import format_time
from vtnstream.types import Report, Segment, Thumbnail

KITTY, ITERM2, BLOCKS = "kitty", "iterm2", "blocks"

MOST_PICTURES = 6
"""Largest number of thumbnails shown."""

_NARROWEST, _WIDEST = 24, 32
"""Cells across a thumbnail; one alone may be narrower than the first."""

_HIGHEST = 14
_GAP = 2
_CHUNK = 4096
"""Bytes of an image in one escape sequence of kitty."""

_SAVE, _RESTORE = "\x1b7", "\x1b8"
_LOWER_HALF = "▄"


def way_to_draw(console: Console, environment: Mapping[str, str] | None = None) -> str | None:
    """Return how a console shows images: :data:`KITTY`, :data:`ITERM2`, :data:`BLOCKS`, or None.

    Args:
        console: where they are to be shown.
        environment: variables of the terminal; None is those of this process.
    """
    if not console.is_terminal or console.no_color or console.is_dumb_terminal:
        return None
    if not console.encoding.lower().startswith("utf"):
        return None
    given = os.environ if environment is None else environment
    kind, program = given.get("TERM", ""), given.get("TERM_PROGRAM", "")
    if not given.get("TMUX") and not kind.startswith(("screen", "tmux")):
        if given.get("KITTY_WINDOW_ID") or kind in ("xterm-kitty", "xterm-ghostty"):
            return KITTY
        if program in ("iTerm.app", "WezTerm") or given.get("LC_TERMINAL") == "iTerm2":
            return ITERM2
    return BLOCKS if console.color_system == "truecolor" else None


def pictured(report: Report) -> tuple[int, ...]:
    """Return the indices of the segments that thumbnails are shown of.

    The best segments of a search, by rank; otherwise the longest, in the order of time.
    """
    segments = report.segments or ()
    numbers = range(len(segments))
    if any(segment.rank is not None for segment in segments):
        best = sorted(numbers, key=lambda i: (segments[i].rank or 0, -segments[i].score))
        return tuple(best[:MOST_PICTURES])
    longest = sorted(numbers, key=lambda i: segments[i].start - segments[i].end)
    return tuple(sorted(longest[:MOST_PICTURES]))


def thumbnail_rows(
    report: Report, legend: Legend, canvas: Canvas, way: str
) -> list[Text | ImageRow]:
    """Return the thumbnails of a report as rows for a terminal, each with a line of captions."""
    if len(report.thumbnails) != len(report.segments or ()):
        return []
    shown = [
        (segment, picture)
        for number in pictured(report)
        if (picture := report.thumbnails[number]) is not None
        and (segment := (report.segments or ())[number])
    ]
    if not shown:
        return []
    across = max(1, (canvas.width + _GAP) // (_NARROWEST + _GAP))
    width = min((canvas.width + _GAP) // across - _GAP, _WIDEST)
    rows: list[Text | ImageRow] = []
    for first in range(0, len(shown), across):
        part = shown[first : first + across]
        images = [_opened(picture) for _, picture in part]
        height = max(_height(image, width) for image in images)
        if way == BLOCKS:
            rows += _blocks(images, width, height)
        else:
            rows.append(ImageRow(tuple(images), width, height, way))
        rows.append(_captions([segment for segment, _ in part], legend, canvas, width))
    return rows


@dataclass(frozen=True, slots=True, eq=False)
class ImageRow:
    """Images side by side, drawn by the terminal's protocol.

    Attributes:
        images: RGB.
        width: cells across each.
        height: cells from top to bottom of the row.
        way: :data:`KITTY` or :data:`ITERM2`.
    """

    images: tuple[Image.Image, ...]
    width: int
    height: int
    way: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Control((ControlType.CARRIAGE_RETURN,))
        yield Cells("\n" * self.height)  # scrolls, so that the cursor can be moved up again
        codes = [f"\x1b[{self.height}A"]
        encode = _kitty if self.way == KITTY else _iterm2
        for number, image in enumerate(self.images):
            column = number * (self.width + _GAP)
            shift = f"\x1b[{column}C" if column else ""
            across, down = _fitted(image, self.width, self.height)
            codes += [_SAVE, shift, *encode(image, across, down), _RESTORE]
        codes.append(f"\x1b[{self.height}B\r")
        yield Cells("".join(codes), None, [(ControlType.CARRIAGE_RETURN,)])


def _kitty(image: Image.Image, width: int, height: int) -> Iterator[str]:
    """Yield the sequences of kitty's protocol; the cursor stays, and no answer is asked for."""
    data = _encoded(image)
    parts = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
    for number, part in enumerate(parts):
        more = int(number + 1 < len(parts))
        head = f"a=T,f=100,q=2,C=1,c={width},r={height}," if not number else ""
        yield f"\x1b_G{head}m={more};{part}\x1b\\"


def _iterm2(image: Image.Image, width: int, height: int) -> Iterator[str]:
    data = _encoded(image)
    facts = f"inline=1;width={width};height={height};preserveAspectRatio=0"
    yield f"\x1b]1337;File={facts}:{data}\a"


def _encoded(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.standard_b64encode(file.getvalue()).decode("ascii")


def _opened(picture: Thumbnail) -> Image.Image:
    with Image.open(io.BytesIO(picture.jpeg)) as image:
        return image.convert("RGB")


def _height(image: Image.Image, width: int) -> int:
    """Return the rows of cells for ``width`` cells: a cell is about twice as high as wide."""
    return min(max(1, round(width * image.height / image.width / 2)), _HIGHEST)


def _blocks(images: Sequence[Image.Image], width: int, height: int) -> list[Text]:
    """Draw images side by side, two pixels in each cell: the background above, the lower half
    block below."""
    lines = [Text(no_wrap=True) for _ in range(height)]
    for number, image in enumerate(images):
        across, down = _fitted(image, width, height)
        pixels = image.resize((across, 2 * down), Image.Resampling.LANCZOS).load()
        assert pixels is not None
        for row, line in enumerate(lines):
            line.append(" " * (number * (width + _GAP) - line.cell_len))
            for column in range(across) if row < down else ():
                high, low = pixels[column, 2 * row], pixels[column, 2 * row + 1]
                line.append(_LOWER_HALF, f"rgb({_rgb(low)}) on rgb({_rgb(high)})")
    return lines


def _fitted(image: Image.Image, width: int, height: int) -> tuple[int, int]:
    """Return the cells of an image in its own proportions, at most ``width`` and ``height``."""
    down = min(_height(image, width), height)
    across = min(width, max(1, round(2 * down * image.width / image.height)))
    return across, down


def _rgb(pixel: object) -> str:
    assert isinstance(pixel, tuple)
    return ",".join(map(str, pixel))


def _captions(segments: Sequence[Segment], legend: Legend, canvas: Canvas, width: int) -> Text:
    line = Text(no_wrap=True)
    for number, segment in enumerate(segments):
        line.append(" " * (number * (width + _GAP) - line.cell_len))
        rank = "" if segment.rank is None else f"{segment.rank}. "
        time = format_time(segment.start, digits=1)
        caption = canvas.text(f"{rank}{time} ", "dim")
        caption.append_text(legend.mark(segment.label))
        caption.append_text(canvas.text(f" {segment.label}"))
        line.append_text(canvas.cut(caption, width))
    return line
