from __future__ import annotations

from vtnstream.report.terminal.glyphs import (
    LETTERS,
    NO_LETTER,
    ink_on,
    label_colors,
    label_letters,
    printable,
)


def test_colors_are_decided_by_place_and_differ() -> None:
    labels = [f"label {i}" for i in range(60)]
    colors = label_colors(labels)
    assert label_colors(labels[:7]).items() <= colors.items()
    assert len(set(colors.values())) == 61  # and background
    assert label_colors(["background", *labels[:3]]).items() <= colors.items()


def test_text_is_readable_on_its_color() -> None:
    assert (ink_on("#edc948"), ink_on("#4e79a7")) == ("#000000", "#ffffff")


def test_prominent_labels_get_the_letters_if_there_are_too_few() -> None:
    assert label_letters(["x", "y"], ()) == {"x": "A", "y": "B"}
    labels = [str(i) for i in range(len(LETTERS) + 1)]
    letters = label_letters(labels, labels[1:])
    assert letters["0"] == NO_LETTER and letters["1"] == "A" and letters[labels[-1]] == "9"


def test_printable_text_is_one_safe_line() -> None:
    assert printable("切开 [red] é") == "切开 [red] é"
    assert printable("a\nb\x1b[2J\udcff\u202e\u2028") == r"a\nb\x1b[2J\udcff\u202e\u2028"
    assert printable("👩\u200d🔬") == "👩\u200d🔬"
    assert printable("切é", "ascii") == r"\u5207\xe9"
