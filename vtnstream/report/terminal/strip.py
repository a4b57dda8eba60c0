"""Draw a timeline to scale in one line of characters, with an axis below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from vtnstream.report.terminal.glyphs import Glyphs, ink_on
from vtnstream.timecode import format_time
from vtnstream.types import Segment

_NOTHING = -1
GAP = -2

STEPS = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60 * m for m in (1, 2, 5, 10, 15, 30)),
    *(3600 * h for h in (1, 2, 3, 6, 12, 24, 48, 96, 240)),
)
"""Distances between ticks in seconds that are easy to read."""


def pixels(
    segments: Sequence[Segment],
    labels: Sequence[str],
    gaps: Sequence[tuple[float, float]],
    span: tuple[float, float],
    count: int,
) -> list[int]:
    """Decide what fills each of ``count`` equal parts of a time span.

    A part shows the label that covers most of it. A segment too short for that still gets one
    empty part, so that rare events remain visible on a long timeline; so do gaps, unless there
    are very many. The longest segment of a label that would appear nowhere gets a part of another
    label.

    Returns:
        For each part the index of a label, :data:`_NOTHING` or :data:`GAP`.
    """
    start, end = span
    places = {label: i for i, label in enumerate(labels)}
    gap = len(labels)
    cover = np.zeros((count, len(labels) + 1))
    scale = count / (end - start)
    items = [(s.start, s.end, places[s.label]) for s in segments if s.label in places]
    items += [(a, b, gap) for a, b in gaps]
    for a, b, place in items:
        _add(cover[:, place], (a - start) * scale, (b - start) * scale)
    filled = np.where(cover.sum(axis=1) >= 0.5, cover.argmax(axis=1), _NOTHING)
    for a, b, place in items:
        first, last = (int((t - start) * scale) for t in (a, b))
        first, last = max(0, min(first, count - 1)), max(0, min(last, count - 1))
        if (filled[first : last + 1] == place).any():
            continue
        middle = (first + last) // 2
        if filled[middle] == _NOTHING or (place == gap and len(gaps) <= count // 8):
            filled[middle] = place
    for a, b, place in sorted(items, key=lambda item: item[0] - item[1]):  # longest first
        middle = max(0, min(int(((a + b) / 2 - start) * scale), count - 1))
        if place != gap and place not in filled and (filled == filled[middle]).sum() > 1:
            filled[middle] = place
    return [GAP if place == gap else int(place) for place in filled]


def _add(cover: NDArray[np.float64], low: float, high: float) -> None:
    """Add to each part the share of it that ``[low, high)`` covers, in units of parts."""
    low, high = max(0.0, low), min(float(len(cover)), high)
    if high <= low:
        return
    first, last = int(low), min(int(high), len(cover) - 1)
    if first == last:
        cover[first] += high - low
        return
    cover[first] += first + 1 - low
    cover[first + 1 : last] += 1
    cover[last] += high - last


def colored_strip(
    parts: Sequence[int], colors: Sequence[str], letters: Sequence[str], glyphs: Glyphs
) -> Text:
    """Draw two parts per cell, as half blocks; wide stretches show their letter in the middle.

    Args:
        parts: from :func:`pixels`, an even number.
        colors: colour of each label.
        letters: letter of each label, or empty strings.
        glyphs: characters of the terminal.
    """
    text = Text(no_wrap=True)
    cells = list(zip(parts[::2], parts[1::2], strict=True))
    for (left, right), group in groupby(cells):
        width = len(list(group))
        if left != right:
            text.append_text(_mixed(left, right, colors, glyphs, width))
        elif left < 0:
            text.append((glyphs.gap if left == GAP else glyphs.nothing) * width, "dim")
        elif width >= 3 and letters[left]:
            before = (width - 1) // 2
            filling = " " * before + letters[left] + " " * (width - 1 - before)
            text.append(filling, f"{ink_on(colors[left])} on {colors[left]}")
        else:
            text.append(glyphs.block * width, colors[left])
    return text


def _mixed(left: int, right: int, colors: Sequence[str], glyphs: Glyphs, width: int) -> Text:
    """Draw cells whose halves differ."""
    if left >= 0 and right >= 0:
        return Text(glyphs.left_half * width, f"{colors[left]} on {colors[right]}")
    if left >= 0:
        return Text(glyphs.left_half * width, colors[left])
    if right >= 0:
        return Text(glyphs.right_half * width, colors[right])
    return Text(glyphs.gap * width, "dim")


def plain_strip(parts: Sequence[int], letters: Sequence[str], glyphs: Glyphs) -> Text:
    """Draw one part per cell without colour: each is filled with its label's letter."""
    special: Mapping[int, str] = {_NOTHING: glyphs.nothing, GAP: glyphs.gap}
    return Text("".join(special.get(p) or letters[p] for p in parts), no_wrap=True)


def with_seams(strip: Text, seams: Mapping[int, str | None], glyphs: Glyphs) -> Text:
    """Draw lines into a strip where a segment follows another of its label, such as a shot after
    a cut.

    Args:
        strip: one character per cell.
        seams: cell -> the label's colour, or None without colours.
        glyphs: characters of the terminal.
    """
    text = Text(no_wrap=True)
    for cell, part in enumerate(strip.divide(range(1, strip.cell_len))):
        color = seams.get(cell)
        if cell not in seams:
            text.append_text(part)
        else:
            text.append(glyphs.seam, f"{ink_on(color)} on {color}" if color else "")
    return text


def axis(span: tuple[float, float], width: int, glyphs: Glyphs) -> Text:
    """Draw ticks at round times of the source, each with its time to the right."""
    start, end = span
    cells = [" "] * width
    room = len(format_time(end, digits=0)) + 4
    step = next((s for s in STEPS if s / (end - start) * width >= room), STEPS[-1])
    digits = 1 if step < 1 else 0
    free = 0
    for number in range(int(np.ceil(start / step - 1e-9)), int(end / step + 1e-9) + 1):
        time = number * step
        mark = glyphs.tick + format_time(time, digits=digits)
        place = min(int((time - start) / (end - start) * width + 1e-9), width - 1)
        if place >= free and place + len(mark) <= width:
            cells[place : place + len(mark)] = mark
            free = place + len(mark) + 1
    return Text("".join(cells).rstrip(), "dim", no_wrap=True)
