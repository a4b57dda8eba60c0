from __future__ import annotations

import io
import itertools
import re
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from tests.report.cases import HEADS, PARTIAL, REPORT, SEGMENTS, many_segments, report
from vtnstream.report.attention import print_attention
from vtnstream.report.terminal.render import print_report
from vtnstream.types import ClassScore, Curve, Moment, Partial, Report, Segment

ODD_LABELS = ("切开", "[red]x", "a very long label " * 8, "b\x1b[31mad\n", ":smile:", "\udcff")
REPORTS = {
    "partial": report(partial=PARTIAL),
    "many": report(segments=many_segments(300), end_seconds=3000.0),
    "odd": report(
        input="影片/とても長い名前のファイル" * 8 + "/手術\udcff.mkv",
        labels=ODD_LABELS,
        classes=tuple(ClassScore(label, 1 / 6) for label in ODD_LABELS),
        segments=tuple(
            Segment(600.0 * i, 600.0 * (i + 1), label, 0.9) for i, label in enumerate(ODD_LABELS)
        ),
    ),
    "overlap": report(
        labels=("person", "car " * 20),
        segments=(
            Segment(0, 900, "person", 0.9),
            Segment(300, 2500, "car " * 20, 0.8),
            Segment(2600, 2600.5, "person", 0.7),
        ),
    ),
    "tracks": report(
        segments=(
            Segment(0, 900, "preparation", 0.9, "dense"),
            Segment(300, 2500, "clipping", 0.8, "sliding"),
        )
    ),
    "class": report(segments=None, labels=()),
    "heads": report(segments=None, labels=(), heads=HEADS),
    "empty": report(segments=(), classes=()),
    "short": report(
        segments=(Segment(0, 0.04, "clipping", 1.0),), end_seconds=0.04, run={}, sampling={}
    ),
    "labels": report(
        segments=tuple(Segment(i, i + 1, f"label {i}", 0.5) for i in range(100)),
        end_seconds=100.0,
    ),
}


def _shown(
    one: Report, width: int = 80, *, color: str | None = None, encoding: str = "utf-8", **how: int
) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    console = Console(
        file=stream,
        width=width,
        color_system=color,  # type: ignore[arg-type]
        force_terminal=color is not None,
        legacy_windows=False,
        _environ={},
    )
    print_report(one, console, **how)
    stream.flush()
    return raw.getvalue().decode(encoding)


def _without_codes(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_frames_that_have_no_rate_are_described() -> None:
    one = replace(REPORTS["heads"], sampling={"kind": "all", "description": "every frame"})
    assert "frames (every frame)" in _shown(one)


def test_several_class_heads_have_a_table_each() -> None:
    lines = _shown(REPORTS["heads"], top_k=1).splitlines()
    titles = [lines.index(name) for name in ("action", "verb", "noun")]
    assert titles == sorted(titles)
    assert [lines[place + 1].split()[0] for place in titles] == ["cholecystectomy", "take", "lid"]
    assert not any("put" in line for line in lines)


@pytest.mark.parametrize("color", [None, "truecolor", "256", "standard"])
@pytest.mark.parametrize("width", [30, 40, 80, 120, 200])
@pytest.mark.parametrize("name", sorted(REPORTS))
def test_nothing_is_wider_than_the_terminal(name: str, width: int, color: str | None) -> None:
    text = _without_codes(_shown(REPORTS[name], width, color=color))
    for line in text.splitlines():
        assert cell_len(line) <= width, line
    assert "\x1b" not in text
    assert all(c.isprintable() or c == "\n" for c in text)


@pytest.mark.parametrize("name", sorted(REPORTS))
def test_plain_text_has_no_codes_and_no_trailing_blanks(name: str) -> None:
    text = _shown(REPORTS[name])
    assert "\x1b" not in text
    assert not any(line != line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("name", sorted(REPORTS))
def test_a_terminal_without_unicode_gets_ascii(name: str, width: int) -> None:
    text = _shown(REPORTS[name], width, encoding="ascii")
    assert text.isascii() and text
    assert all(len(line) <= width for line in text.splitlines())


def test_the_text_of_a_report() -> None:
    text = _shown(report(partial=PARTIAL))
    for part in (
        "films/movie.mkv",
        "1:00:00 · 1920×1080 · h264 · 29.97 frames/s · 1.23 GB",
        "7,200 frames at 2 frames/s · decoded · in 41.2 s, 87× real time",
        "cholecystectomy   97.3 %  ━━",
        "hernia repair     <0.1 %",
        " 7:01.5    30:00.0  22:58.5  B dissection    81.0 %",
        "3 packets could not be decoded.",
        "Read 40:10.5 of 1:00:00.1 (67.0 %).",
        "No frames at 30:00.0 – 30:05.2.",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ({"tokens": 10, "tokens_encoded": 0, "from_store": True}, "from stored features"),
        ({"tokens": 10, "tokens_encoded": 10, "from_store": False}, "· decoded"),
        (
            {"tokens": 10, "tokens_encoded": 4, "from_store": False},
            "4 decoded, the rest from stored features",
        ),
    ],
)
def test_whether_the_video_was_decoded(run: dict, words: str) -> None:
    assert words in _shown(report(run=run))


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ({"seconds": 36.0}, "in 36.0 s, 100× real time"),
        # Only what was decoded counts for the rate.
        ({"seconds": 36.0, "tokens": 100, "tokens_encoded": 10}, "in 36.0 s, 10× real time"),
        ({"seconds": 36.0, "from_store": True, "tokens_encoded": 0}, "in 36.0 s"),
        ({"seconds": 36.0, "command_seconds": 40.0}, "100× real time (40.0 s with start-up)"),
    ],
)
def test_the_speed_is_that_of_what_was_decoded(run: dict, words: str) -> None:
    text = _shown(report(run=run, start_seconds=0.0, end_seconds=3600.0))
    assert words in text
    assert ("real time" in text) is not run.get("from_store", False)


def test_invalid_facts_are_left_out() -> None:
    text = _shown(report(run={"tokens": "many", "seconds": None, "from_store": 3}))
    assert "many" not in text and "from stored features · model vtn-test" in text


def test_a_selected_range_is_named() -> None:
    text = _shown(report(start_seconds=600.0, end_seconds=1200.0, segments=None))
    assert "10:00.0 – 20:00.0 · 7,200 frames" in text


@pytest.mark.parametrize("width", [30, 40, 80, 200])
def test_the_partial_panel_wraps_and_loses_no_word(width: int) -> None:
    reason = "the header promises 3,600 s but the file ends after 2,410 s of them"
    gaps = tuple((10.0 * i, 10.0 * i + 1) for i in range(9))
    partial = Partial((reason,), 2410.5, None, gaps)
    words = re.findall(r"[\w,:.]+", _shown(report(segments=None, partial=partial), width))
    assert set(reason.replace("the header", "The header").split()[:-1]) <= set(words)
    assert "0:30.0" in words and "0:40.0" not in words and "5" in words


# --------------------------------------------------------------------- classes, table


def test_bars_are_in_proportion() -> None:
    classes = (ClassScore("a", 0.5), ClassScore("b", 0.25))
    one = report(segments=None, attention=None, classes=classes)
    first, second = (
        line.count("━") + line.count("╸") / 2 for line in _shown(one).splitlines()[-2:]
    )
    assert first == pytest.approx(2 * second, abs=0.5) and first > 20


def test_top_k_classes() -> None:
    one = report(segments=None, classes=tuple(ClassScore(f"c{i:02}", 0.1) for i in range(50)))
    assert len(re.findall(r"c\d\d", _shown(one))) == 10
    assert len(re.findall(r"c\d\d", _shown(one, top_k=3))) == 3
    assert len(re.findall(r"c\d\d", _shown(one, top_k=50))) == 50


def test_a_long_table_omits_its_middle() -> None:
    one = report(segments=many_segments(200), classes=())
    text = _shown(one, max_segments=20)
    rows = [line for line in text.splitlines() if re.match(r" *\d.* % *$", line)]
    assert len(rows) == 20
    assert "… 180 more (use -f csv)" in text
    first, last = one.segments[0], one.segments[-1]  # type: ignore[index]
    assert first.label in rows[0] and last.label in rows[-1]
    assert "more" not in _shown(report(segments=many_segments(21)), max_segments=20)


def test_brackets_and_colons_are_no_markup() -> None:
    text = _shown(REPORTS["odd"], 120, color="truecolor")
    assert "[red]x" in text and ":smile:" in text
    assert r"b\x1b[31mad\n" in text


# ------------------------------------------------------------------------------ strip


def _strip(text: str) -> str:
    lines = text.splitlines()
    return lines[next(i for i, line in enumerate(lines) if "╵" in line) - 1]


def test_the_strip_is_to_scale() -> None:
    strip = _strip(_shown(report(partial=PARTIAL), 100))
    runs = [(letter, len(list(group))) for letter, group in itertools.groupby(strip)]
    assert [letter for letter, _ in runs] == ["A", "B", "░", "C", "D"]
    for (_, cells), segment in zip([r for r in runs if r[0] != "░"], SEGMENTS, strict=True):
        expected = (segment.end - segment.start) / 3600.1 * 100
        assert cells == pytest.approx(expected, abs=1.5)  # the gap takes a whole cell
    assert len(strip) == 100


def test_empty_time_is_a_line_and_short_events_are_visible() -> None:
    goals = tuple(Segment(t, t + 2, "goal", 0.9) for t in (100.0, 1800.0, 3590.0))
    strip = _strip(_shown(report(segments=goals, labels=("background", "goal"))))
    assert [i for i, c in enumerate(strip) if c == "A"] == [2, 39, 79]
    assert set(strip) == {"A", "─"}


def test_letters_and_colors_follow_the_models_labels() -> None:
    def style_of(label: str, segments: tuple[Segment, ...]) -> str:
        text = _shown(report(segments=segments, classes=()), color="truecolor")
        found = re.search(rf"(\x1b\[[0-9;]*m)[A-Z]\x1b\[0m {label}", text)
        assert found
        return found[1]

    # The same label has the same colour whatever else occurs in a video.
    alone = tuple(s for s in SEGMENTS if s.label == "clipping")
    assert style_of("clipping", SEGMENTS) == style_of("clipping", alone)
    assert style_of("clipping", SEGMENTS) != style_of("dissection", SEGMENTS)


def test_colored_strips_are_as_wide_as_the_terminal() -> None:
    for width in (41, 80, 133):
        text = _shown(report(partial=PARTIAL), width, color="truecolor")
        strip = next(line for line in text.splitlines() if "48;2;" in line)
        assert cell_len(_without_codes(strip)) == width


def test_without_color_letters_distinguish_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=80,
        force_terminal=True,
        color_system="truecolor",
        _environ={"NO_COLOR": "1"},
    )
    print_report(REPORT, console)
    text = stream.getvalue()
    assert "38;2" not in text and "48;2" not in text
    assert set(_strip(_without_codes(text))) >= set("ABCD")


def test_overlapping_classes_have_one_line_each() -> None:
    lines = _shown(REPORTS["overlap"]).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("A person"))
    assert lines[start].count("A") == pytest.approx(900 / 3600 * 56, abs=3)
    assert lines[start + 1].startswith("B car car")
    assert "╵0:00" in lines[start + 2]


def test_more_labels_than_letters_are_counted() -> None:
    text = _shown(REPORTS["labels"], 120)
    assert "… 84 more labels" in text


def test_ticks_are_at_their_times() -> None:
    for end in (0.3, 2.0, 59.0, 600.0, 3600.0, 10 * 3600.0, 90 * 3600.0):
        one = report(segments=(Segment(0, end, "clipping", 0.9),), end_seconds=end)
        for width in (40, 80, 200):
            axis = next(line for line in _shown(one, width).splitlines() if "╵" in line)
            times = re.findall(r"╵([\d:.]+)", axis)
            assert len(times) >= 2, (end, width, axis)
            for tick in re.finditer(r"╵([\d:.]+)", axis):
                seconds = 0.0
                for part in tick[1].split(":"):
                    seconds = 60 * seconds + float(part)
                assert abs(tick.start() - seconds / end * width) <= 1


# -------------------------------------------------------------------------- attention


@pytest.mark.parametrize("color", [None, "truecolor"])
@pytest.mark.parametrize("width", [40, 80, 200])
def test_attention_is_a_heat_strip_to_scale_below_the_timeline(
    width: int, color: str | None
) -> None:
    values = tuple(8.0 if 300 <= k < 320 else 0.5 for k in range(400))
    one = report(attention=Curve(0.0, 3600.1, values))
    lines = _without_codes(_shown(one, width, color=color)).splitlines()
    heat = next(i for i, line in enumerate(lines) if set(line) <= set("▁▂▃▄▅▆▇█") and line)
    assert cell_len(lines[heat]) == width
    assert lines[heat].index("█") == pytest.approx(0.75 * width, abs=1)
    assert "╵0:00" in lines[heat + 1] and "attention of [CLS]" in lines[heat + 2]
    assert next(i for i, line in enumerate(lines) if "╵" in line) < heat


def test_no_strip_without_attention_and_no_rows_on_request() -> None:
    assert "attention" not in _shown(report(attention=None))
    assert "attention" in _shown(report(segments=None))
    text = _shown(REPORT, max_segments=0)
    assert "length" not in text and "attention" in text and "dissection" in text


def test_adjacent_segments_of_one_label_are_separated() -> None:
    """A line marks the beginning of the next shot, in the label's colours or without."""
    shots = [Segment(a, b, "shot", 1.0) for a, b in ((0, 900), (900, 2000), (2300, 3600))]
    strip = _strip(_shown(report(segments=shots, labels=("shot",)), 80))
    assert strip.count("│") == 1
    assert strip.index("│") == pytest.approx(80 / 4, abs=1)
    many = [Segment(20 * k, 20 * k + 20, "shot", 1.0) for k in range(180)]
    assert "│" not in _strip(_shown(report(segments=many, labels=("shot",)), 80))


def test_fast_cutting_does_not_look_like_one_long_shot() -> None:
    edges = [*range(0, 1800, 50), *range(1800, 3601, 600)]  # 50 s are about a cell
    shots = [Segment(a, b, "shot", 1.0) for a, b in itertools.pairwise(edges)]
    strip = _strip(_shown(report(segments=shots, labels=("shot",)), 80))
    assert strip[:41].count("│") == 36
    assert strip[41:].count("│") == 2


def test_a_rare_label_is_drawn_where_another_covers_its_time() -> None:
    """Every label of the legend is in the strip, on a film whose black frame fills no cell."""
    film = [Segment(0, 1799, "shot", 1.0), Segment(1799, 1800, "black", 1.0)]
    film.append(Segment(1800, 3600, "shot", 1.0))
    strip = _strip(_shown(report(segments=film, labels=("black", "shot")), 80))
    assert strip.count("A") == 1 and strip.index("A") in (39, 40)


def test_each_track_has_a_table_of_its_own() -> None:
    """Windows are not mixed with the shots of the same time."""
    shots = tuple(Segment(k, k + 1, "shot", 0.9, "shots") for k in range(3))
    windows = (
        Segment(0, 2, "cut", 0.8, "editing style"),
        Segment(2, 3, "still", 0.7, "editing style"),
    )
    mixed = tuple(sorted((*shots, *windows), key=lambda s: s.start))
    text = _shown(report(segments=mixed, labels=("shot", "cut", "still"), end_seconds=3.0))
    table = text[text.index("shots: 3 segments") :]
    first, second = table.split("editing style: 2 segments")
    assert first.count("shot ") == 3
    assert "cut" not in first
    assert "shot" not in second
    assert "share of time:" in text


def test_moments_of_attention_have_a_length() -> None:
    curve = Curve(0.0, 8.2, (1.0, 3.0))
    for start, end, shown in ((1.0, 1.5, "0:01.0 – 0:01.5"), (8.02, 8.06, "0:08.02 – 0:08.06")):
        console = Console(file=io.StringIO(), width=80)
        print_attention(curve, [Moment(start, end, 0.3, 3.0)], console)
        assert shown in console.file.getvalue()  # type: ignore[attr-defined]
