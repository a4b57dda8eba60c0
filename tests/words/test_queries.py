"""Labels and queries as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from vtnstream.errors import UsageError
from vtnstream.words.queries import (
    MAX_LABELS,
    Example,
    Label,
    parse_example,
    parse_label,
    read_labels,
)


@pytest.mark.parametrize(
    ("text", "example"),
    [
        ("goal.jpg", Example("goal.jpg")),
        ("match.mp4", Example("match.mp4")),
        ("match.mp4@12:30-12:41", Example("match.mp4", "12:30", "12:41")),
        ("a@b.mp4@1-2.5", Example("a@b.mp4", "1", "2.5")),
        ("me@home.mp4", Example("me@home.mp4")),
        ("https://h/x.mp4@90s-2700f", Example("https://h/x.mp4", "90s", "2700f")),
    ],
)
def test_examples(text: str, example: Example) -> None:
    assert parse_example(text) == example


def test_a_file_that_is_called_like_a_span_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "take@1-2"
    path.touch()
    assert parse_example(str(path)) == Example(str(path))


def test_examples_of_a_labels_file_are_looked_for_beside_it(tmp_path: Path) -> None:
    (tmp_path / "match.mp4").touch()
    labels = tmp_path / "labels.txt"
    labels.write_text("# ball games\ngoal = @match.mp4@1-2 | the  ball\n\ncorner\n", "utf-8")
    goal = Example(str(tmp_path / "match.mp4"), "1", "2")
    assert read_labels(str(labels)) == (
        Label("goal", ("the ball",), (goal,)),
        Label("corner", ("corner",)),
    )


def test_labels_as_text() -> None:
    assert read_labels("goal; corner kick ;replay = a replay | slow motion") == (
        Label("goal", ("goal",)),
        Label("corner kick", ("corner kick",)),
        Label("replay", ("a replay", "slow motion")),
    )
    assert parse_label("@goal.png") == Label("goal.png", (), (Example("goal.png"),))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no label"),
        (" ; ;", "no label"),
        ("a; b; A", "'A' is named twice"),
        ("a; background", "'background' is what no label matches"),
        ("a = ", "has no prompt behind ="),
        ("= b", "has no name"),
        ("a = @", "an example is empty"),
        ("a = @goal.jpg@1-2", "an image has no span"),
        ("absent.txt", "no such labels file"),
        (";".join(map(str, range(MAX_LABELS + 1))), "10,001 labels are more than"),
    ],
)
def test_wrong_labels_are_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read_labels(text)
    assert "\n" not in str(caught.value)


def test_a_labels_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(b"\xff\xfe\x00goal")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_labels(str(path))
