"""``vtnstream index`` and ``search --library`` on a real run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("lancedb")

from tests.cli.conftest import Outcome
from tests.search.scenes import SCENE_SECONDS, write_scenes, write_still

Run = Callable[..., Outcome]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes") / "scenes.mp4")


def document(outcome: Outcome) -> Any:
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def test_a_library_is_kept_in_step_and_searched(
    scenes: Path, broken: Path, model_folder: Path, run: Run, tmp_path: Path
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    shutil.copy(scenes, videos / "scenes.mp4")
    write_scenes(videos / "others.mp4", (10, 11, 12))
    index = ("index", videos, "--library", "all", "-m", model_folder, "--json", "-q")
    first = document(run(*index))
    assert (first["added"], first["videos"]) == (2, 2) and first["vectors"] == 96
    again = document(run(*index))
    assert (again["added"], again["unchanged"]) == (0, 2)

    still = write_still(tmp_path / "two.png", 2)
    search = ("search", "--library", "all", "--json", "-q")
    (report,) = document(run(*search, "--like", still, "-m", model_folder))
    assert report["input"] == str(videos / "scenes.mp4")
    (segment,) = report["segments"]
    assert segment["rank"] == 1 and segment["score"] > 0.5
    assert (segment["start"], segment["end"]) == (2 * SCENE_SECONDS, 3 * SCENE_SECONDS)
    by_name = document(run(*search, "--like", still))  # the library knows its model
    assert by_name[0]["segments"] == report["segments"]

    absent = tmp_path / "no.png"
    Image.new("RGB", (96, 96), "white").save(absent)
    outcome = run("search", "--library", "all", "--like", absent, "--json")
    assert "no.png: nothing found in library all" in outcome.err
    (nothing,) = document(outcome)
    assert nothing["library"] == "all"
    assert nothing["answers"] == [{"label": "no.png", "found": False}]
    stored = tmp_path / "answers.json"
    both = run(*search, "--like", still, "--like", absent)
    found, nothing = document(both)
    assert found["answers"][0]["found"] and nothing["answers"][0]["label"] == "no.png"
    stored.write_text(both.out, "utf-8")
    assert run("show", stored).code == 0  # reads the results alone

    (videos / "scenes.mp4").unlink()
    shutil.copy(scenes, videos / "others.mp4")  # changed
    shutil.copy(broken, videos / "broken.mp4")
    outcome = run(*index)
    assert outcome.code == 1 and "broken.mp4" in outcome.errors[0]
    third = json.loads(outcome.out)
    assert (third["changed"], third["removed"], third["videos"]) == (1, 1, 1)
    (report,) = document(run(*search, "--like", still))
    assert report["input"] == str(videos / "others.mp4")
    assert run(*search, "--like", still, "-o", tmp_path / "out", "-f", "html,csv").code == 0
    assert (tmp_path / "out" / "others.mp4.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("index", "x.mp4"), "no library"),
        (("index", "x.mp4", "--library", " "), "has no name"),
        (("search", "--like", "x.png", "--library", "gone"), "`vtnstream index` makes it"),
        (("search", "--like", "x.png", "x.mp4", "--library", "gone"), "leave them out"),
        (
            ("search", "--like", "x.png", "--library", "gone", "--fps", "2"),
            "--fps cannot be used with --library",
        ),
    ],
)
def test_wrong_requests_are_one_line(
    arguments: tuple[str, ...], message: str, run: Run, model_folder: Path
) -> None:
    outcome = run(*arguments, "-m", model_folder)
    assert outcome.code in (1, 2)
    (line,) = outcome.errors
    assert message in line
