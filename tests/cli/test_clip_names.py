"""Names of clips; a clip that fails does not stop the others."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.synth import SyntheticVideo

from .conftest import Outcome

Run = Callable[..., Outcome]


@pytest.fixture
def numbered(run: Run, model_folder: Path) -> Callable[..., Path]:
    """Write a result of a video of this name, with these segments."""

    def make(name: str, *segments: tuple[float, float, str]) -> Path:
        SyntheticVideo(count=60, rate=10, gop=10).write(Path("film.mp4"))
        os.rename("film.mp4", name)
        assert run("timeline", f"./{name}", "-m", model_folder, "-o", "r").code == 0
        (result,) = Path("r").glob("*.json")
        document = json.loads(result.read_text())
        document["segments"] = [
            {"start": start, "end": end, "label": label, "score": 0.9}
            for start, end, label in segments
        ]
        result.write_text(json.dumps(document))
        return result

    return make


def test_numbers_are_those_of_the_result(run: Run, numbered: Callable[..., Path]) -> None:
    result = numbered("a.mp4", (0, 1, "x"), (1, 2, "goal/1"), (2, 3, "x"), (3, 4, "goal/1"))
    assert run("clips", result, "--label", "goal/1", "-o", "c").code == 0
    assert sorted(os.listdir("c")) == ["a.mp4.002-goal_1.mp4", "a.mp4.004-goal_1.mp4"]
    template = "{stem}-{index:03}-{label}-{start:.1f}"
    assert run("clips", result, "-o", "d", "--smart", "--name", template).code == 0
    assert sorted(os.listdir("d"))[:2] == ["a-001-x-0.0.mp4", "a-002-goal_1-1.0.mp4"]


def test_a_clip_that_fails_is_one_line_and_the_next_goes_on(
    run: Run, numbered: Callable[..., Path]
) -> None:
    result = numbered("a.mp4", (0, 1, "x"), (50, 60, "late"), (2, 3, "y"))
    outcome = run("clips", result, "-o", "c")
    assert outcome.code == 1 and sorted(os.listdir("c")) == ["a.mp4.001-x.mp4", "a.mp4.002-y.mp4"]
    assert len(outcome.errors) == 2 and "nothing of these times" in outcome.errors[0]
    assert "1 of 3 clips could not be written" in outcome.errors[1]


@pytest.mark.parametrize("name", ["12:30 match.mp4", "映" * 76 + ".mp4", "映" * 83 + ".mp4"])
def test_names_that_are_long_or_look_like_addresses(
    run: Run, numbered: Callable[..., Path], name: str
) -> None:
    result = numbered(name, (0, 1, "one"), (1, 2, "two"))
    outcome = run("clips", result, "-o", ".")
    assert outcome.code == 0, outcome.err
    clips = sorted(p.name for p in Path().iterdir() if p.name.endswith(("one.mp4", "two.mp4")))
    assert len(clips) == 2 and all(len(os.fsencode(clip)) <= 255 for clip in clips)
    assert clips[0].endswith(".001-one.mp4") and clips[1].endswith(".002-two.mp4")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{index}-{lable}", "did you mean 'label'"),
        ("{label}", "use {index}"),
        ("{index", "--name"),
        ("{index:x.}", "--name"),
    ],
)
def test_templates_that_cannot_be(
    run: Run, numbered: Callable[..., Path], template: str, words: str
) -> None:
    outcome = run("clips", "any.json", "-o", "c", "--name", template)
    assert outcome.code == 2 and words in outcome.errors[0]
    assert not os.path.exists("c")


def test_split_is_timeline_and_clips_in_one(run: Run, video: Path, model_folder: Path) -> None:
    assert run("timeline", video, "-m", model_folder, "-o", "r").code == 0
    segments = json.loads(Path("r/film one.mp4.json").read_text())["segments"]
    arguments = ["split", video, "-m", model_folder, "-o", "shots", "--smart"]
    outcome = run(*arguments, "--name", "{stem}-{index:02}-{label}")
    assert outcome.code == 0, outcome.err
    assert sorted(os.listdir("shots")) == [
        f"film one-{number:02}-{segment['label']}.mp4" for number, segment in enumerate(segments, 1)
    ]
    assert run(*arguments[:-3]).code == 2  # no place


def test_shots_are_named_by_their_own_numbers(run: Run, numbered: Callable[..., Path]) -> None:
    result = numbered("a.mp4", (0, 1, "shot"), (1, 2, "dissolve"), (2, 3, "shot"))
    assert run("clips", result, "-o", "c", "--name", "{stem}-{shot:02}").code == 2, "no numbers"
    document = json.loads(result.read_text())
    for number, place in ((1, 0), (2, 2)):
        document["segments"][place]["shot"] = number
    result.write_text(json.dumps(document))
    template = "{stem}-{shot:02}-{title}"
    assert run("clips", result, "-o", "d", "--name", template).code == 0
    names = ["a-01-dissolve.mp4", "a-01-shot-1.mp4", "a-02-shot-2.mp4"]
    assert sorted(os.listdir("d")) == names
    twice = run("clips", result, "-o", "e", "--name", "{shot}")
    assert twice.code == 2 and "two clips are named 1.mp4" in twice.err
