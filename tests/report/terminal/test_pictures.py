"""Thumbnails in a terminal: which way they are drawn, and what is written."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from collections.abc import Mapping

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len
from rich.console import Console

from tests.report.cases import VIDEO
from vtnstream.report.terminal.pictures import BLOCKS, ITERM2, KITTY, pictured, way_to_draw
from vtnstream.report.terminal.render import print_report
from vtnstream.types import Report, Segment, Thumbnail
from vtnstream.video.thumbnails import jpeg

RED, BLUE = (200, 30, 30), (30, 30, 200)
_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|_G[^\x1b]*\x1b\\|\][^\a]*\a|[78])")


def screen(width: int = 80, *, terminal: bool = True, color: str = "truecolor") -> Console:
    return Console(
        file=io.StringIO(),
        width=width,
        force_terminal=terminal,
        color_system=color,  # type: ignore[arg-type]
        legacy_windows=False,
        _environ={"TERM": "xterm-256color"},
    )


def halves(width: int = 64, height: int = 36) -> Thumbnail:
    """Red above blue."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[: height // 2], picture[height // 2 :] = RED, BLUE
    return Thumbnail(1.0, jpeg(picture))


def found(count: int = 3) -> Report:
    segments = [Segment(10.0 * i, 10.0 * i + 4, "goal", 0.9, rank=count - i) for i in range(count)]
    pictures = (*[halves()] * (count - 1), None)
    return Report(
        "match.mp4",
        VIDEO,
        {"name": "m"},
        segments=tuple(segments),
        labels=("goal",),
        end_seconds=100.0,
        thumbnails=pictures,
    )


def printed(
    report: Report, console: Console, way: Mapping[str, str], patch: pytest.MonkeyPatch
) -> str:
    for name in ("TMUX", "KITTY_WINDOW_ID", "TERM_PROGRAM", "LC_TERMINAL"):
        patch.delenv(name, raising=False)
    for name, value in way.items():
        patch.setenv(name, value)
    print_report(report, console)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"KITTY_WINDOW_ID": "1", "TERM": "xterm-kitty"}, KITTY),
        ({"TERM": "xterm-ghostty"}, KITTY),
        ({"TERM_PROGRAM": "iTerm.app"}, ITERM2),
        ({"TERM_PROGRAM": "WezTerm"}, ITERM2),
        ({"LC_TERMINAL": "iTerm2"}, ITERM2),  # over ssh
        ({"TERM": "xterm-256color"}, BLOCKS),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/t", "KITTY_WINDOW_ID": "1"}, BLOCKS),
        ({"TERM": "screen-256color", "TERM_PROGRAM": "iTerm.app"}, BLOCKS),
    ],
)
def test_the_protocol_follows_from_the_terminal(
    environment: Mapping[str, str], expected: str
) -> None:
    assert way_to_draw(screen(), environment) == expected


def test_pipes_and_terminals_without_colours_show_none(monkeypatch: pytest.MonkeyPatch) -> None:
    kitty = {"KITTY_WINDOW_ID": "1"}
    assert way_to_draw(screen(terminal=False), kitty) is None
    assert way_to_draw(screen(color="256"), {}) is None
    text = printed(found(), screen(terminal=False), kitty, monkeypatch)
    assert "▄" not in text and "\x1b_G" not in text


def test_half_blocks_show_the_upper_pixel_as_background(monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(found(), screen(), {}, monkeypatch)
    lines = [line for line in text.splitlines() if "▄" in line]
    assert len(lines) == 7  # 25 cells across, 36/64 of it down, two pixels a cell
    above = [re.search(r"48;2;(\d+);(\d+);(\d+)", line) for line in lines]
    tones = [tuple(map(int, match.groups())) for match in above if match]
    assert np.abs(np.subtract(tones[0], RED)).max() < 25
    assert np.abs(np.subtract(tones[-1], BLUE)).max() < 25


@pytest.mark.parametrize("width", [30, 38, 52, 80, 200])
@pytest.mark.parametrize("way", [{}, {"KITTY_WINDOW_ID": "1"}, {"TERM_PROGRAM": "iTerm.app"}])
def test_no_line_is_wider_than_the_terminal(
    width: int, way: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = printed(found(9), screen(width), way, monkeypatch)
    assert all(cell_len(_ESCAPE.sub("", line)) <= width for line in text.splitlines())


def test_kitty_gets_a_png_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)
    report = dataclasses.replace(found(), thumbnails=(Thumbnail(0.0, jpeg(noisy)), None, None))
    text = printed(report, screen(), {"KITTY_WINDOW_ID": "1"}, monkeypatch)
    parts = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
    assert len(parts) > 1 and all(len(data) <= 4096 for _, data in parts)
    assert parts[0][0] == "a=T,f=100,q=2,C=1,c=25,r=7,m=1" and parts[-1][0] == "m=0"
    with Image.open(io.BytesIO(base64.b64decode("".join(data for _, data in parts)))) as image:
        assert image.format == "PNG" and image.size == (160, 90)
    assert text.count("\x1b7") == text.count("\x1b8") == 1


def test_iterm2_gets_one_file_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(found(), screen(), {"TERM_PROGRAM": "iTerm.app"}, monkeypatch)
    parts = re.findall(r"\x1b\]1337;File=([^:]*):([^\a]*)\a", text)
    assert [facts for facts, _ in parts] == ["inline=1;width=25;height=7;preserveAspectRatio=0"] * 2
    assert "\x1b[27C" in text  # the second image is to the right of the first


def test_the_best_segments_are_pictured() -> None:
    assert pictured(found(9)) == (8, 7, 6, 5, 4, 3)  # by rank
    report = found(9)
    lengths = [1, 9, 2, 8, 3, 7, 4, 6, 5]
    segments = tuple(Segment(10.0 * i, 10.0 * i + n, "a", 0.5) for i, n in enumerate(lengths))
    assert pictured(dataclasses.replace(report, segments=segments)) == (1, 3, 5, 6, 7, 8)
