"""``vtnstream search`` by example, on a real run of a small random backbone."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Outcome
from tests.search.scenes import SCENE_SECONDS, write_scenes, write_still
from vtnstream.cli.commands.search import in_order
from vtnstream.types import QueryAnswer

Run = Callable[..., Outcome]
END = 29.75
"""End of the last sampled frame, which lasts as long as in the file."""
BACKBONE = ("--backbone", "resnet18", "--size", "64", "--fps", "2", "--smooth", "0", "-q")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes") / "scenes.mp4")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One feature store for all tests of this file: the video is decoded once."""
    folder = tmp_path_factory.getbasetemp() / "search-cache"
    monkeypatch.setenv("VTNSTREAM_CACHE_DIR", str(folder))


def document(outcome: Outcome) -> Any:
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def spans(report: Any) -> list[tuple[float, float]]:
    return [(s["start"], s["end"]) for s in report["segments"]]


def test_a_span_is_found_and_found_again(scenes: Path, run: Run) -> None:
    report = document(run("search", "--like", f"{scenes}@1-4", scenes, *BACKBONE, "--json"))
    assert spans(report) == [(0, SCENE_SECONDS), (4 * SCENE_SECONDS, END)]
    assert sorted(s["rank"] for s in report["segments"]) == [1, 2]
    (answer,) = report["answers"]
    assert answer["found"] and answer["match"] > 0.9 and answer["label"] == "scenes.mp4@1-4"
    assert report["score_name"] == "match"
    assert report["scores"][0]["label"] == "scenes.mp4@1-4"


def test_an_image_is_found_and_an_absent_one_is_an_answer(
    scenes: Path, run: Run, tmp_path: Path
) -> None:
    shown, absent = write_still(tmp_path / "two.png", 2), write_still(tmp_path / "no.png", 77)
    command = ("search", "--like", shown, "--like", absent, scenes, *BACKBONE)
    report = document(run(*command, "--json"))
    assert spans(report) == [(2 * SCENE_SECONDS, 3 * SCENE_SECONDS)]
    assert [(a["label"], a["found"]) for a in report["answers"]] == [
        ("two.png", True),
        ("no.png", False),
    ]
    outcome = run(*command)
    assert "two.png: found" in outcome.out and "no.png: nothing found" in outcome.out
    assert "match" in outcome.out


def test_nothing_found_ends_well(scenes: Path, run: Run, tmp_path: Path) -> None:
    absent = write_still(tmp_path / "no.png", 77)
    report = document(run("search", "--like", absent, scenes, *BACKBONE, "--json"))
    assert report["segments"] == [] and not report["answers"][0]["found"]
    outcome = run("search", "--like", absent, scenes, *BACKBONE)
    assert outcome.code == 0 and "nothing found" in outcome.out


def test_results_go_through_writers_show_export_and_clips(
    scenes: Path, run: Run, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ("search", "--like", f"{scenes}@1-4", scenes, *BACKBONE, "-o", out)
    assert run(*command, "-f", "json,csv,srt,html,edl").code == 0
    with (out / "scenes.mp4.csv").open(encoding="utf-8") as file:
        assert [row["start"] for row in csv.DictReader(file)] == ["0", "24"]
    page = (out / "scenes.mp4.html").read_text("utf-8")
    assert "scenes.mp4@1-4</bdi>: found" in page and "data:image/jpeg" in page
    assert "Match of scenes.mp4@1-4 over time" in page
    shown = run("show", out / "scenes.mp4.json")
    assert shown.code == 0 and "scenes.mp4@1-4: found" in shown.out
    assert run("clips", out / "scenes.mp4.json", "-o", tmp_path / "clips", "-q").code == 0
    assert len(list((tmp_path / "clips").iterdir())) == 2
    again = run("export", out / "scenes.mp4.json", "-f", "json", "-o", tmp_path / "again", "-q")
    assert again.code == 0
    first, second = (
        json.loads((folder / "scenes.mp4.json").read_text("utf-8"))
        for folder in (out, tmp_path / "again")
    )
    assert first["answers"] == second["answers"] and first["segments"] == second["segments"]


def test_the_second_question_decodes_nothing(scenes: Path, run: Run) -> None:
    run("search", "--like", f"{scenes}@1-4", scenes, *BACKBONE)
    report = document(run("search", "--like", f"{scenes}@7-10", scenes, *BACKBONE, "--json"))
    assert report["run"]["from_store"] and report["run"]["frames_decoded"] == 0
    (best,) = (s for s in report["segments"] if s["rank"] == 1)
    assert (best["start"], best["end"]) == (SCENE_SECONDS, 2 * SCENE_SECONDS)


def test_several_videos_and_a_bad_one(
    scenes: Path, broken: Path, run: Run, model_folder: Path
) -> None:
    outcome = run(
        "search", "--like", f"{scenes}@1-4", scenes, broken, "-m", model_folder, "--json", "-q"
    )
    assert outcome.code == 1
    good, bad = json.loads(outcome.out)
    assert good["answers"] and "error" in bad


def test_features_of_a_file_are_searched(scenes: Path, run: Run, tmp_path: Path) -> None:
    backbone = [word for word in BACKBONE if word not in ("--smooth", "0")]
    file = tmp_path / "features.safetensors"
    assert run("extract", scenes, *backbone, "-o", file).code == 0
    command = ("search", "--like", f"{scenes}@1-4", scenes, *BACKBONE, "--json")
    stored, read = document(run(*command)), document(run(*command, "--features", file))
    assert read["segments"] == stored["segments"] and read["answers"] == stored["answers"]
    wrong = run(*command, "--features", file, "--fps", "3")
    assert wrong.code != 0 and "another sampling" in wrong.errors[0]
    several = run(*command, tmp_path / "other.mp4", "--features", file)
    assert several.code == 2 and "--features is for one video" in several.errors[0]


def test_videos_are_put_in_order(scenes: Path, run: Run, tmp_path: Path) -> None:
    other = write_scenes(tmp_path / "other.mp4", (30, 31, 32))
    arguments = [word for word in BACKBONE if word != "-q"]
    command = ("search", "--like", f"{scenes}@1-4", other, scenes, *arguments)
    outcome = run(*command, "--json")
    second, first = document(outcome)
    assert first["answers"][0]["similarity"] > second["answers"][0]["similarity"]
    assert first["answers"][0]["match"] > second["answers"][0]["match"]
    assert f"best match first: {scenes} ({first['answers'][0]['match']:.1%}), " in outcome.err


def test_the_order_and_the_figures_are_those_of_the_best_matches() -> None:
    def answer(match: float, found: bool = False) -> QueryAnswer:
        return QueryAnswer("q", found, match, 0.0, similarity=0.36)

    absent = [("fall.mp4", answer(0.010)), ("adl.mp4", answer(0.121))]
    assert list(in_order({"q": absent})) == [
        "q: nothing found, best match first: adl.mp4 (12.1%), fall.mp4 (1.0%)"
    ]
    shown = [*absent, ("scene.mp4", answer(0.8, True))]
    assert list(in_order({"q": shown})) == [
        "q: best match first: scene.mp4 (80.0%), adl.mp4 (12.1%), fall.mp4 (1.0%)"
    ]
    assert list(in_order({"q": absent[:1]})) == []


def test_a_short_span_gets_frames_enough(scenes: Path, run: Run) -> None:
    report = document(run("search", "--like", f"{scenes}@1-1.25", scenes, *BACKBONE, "--json"))
    assert report["answers"][0]["found"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("scenes.mp4",), "no query"),
        (("", "scenes.mp4"), "the query is empty"),
        (("--like", "", "scenes.mp4"), "an example is empty"),
        (("--like", "absent.jpg", "scenes.mp4"), "absent.jpg: no such file"),
        (("--like", "note.png", "scenes.mp4"), "not one of the image formats"),
        (("--like", "scenes.mp4@9-3", "scenes.mp4"), "is not after"),
        (("--like", "scenes.mp4@900-903", "scenes.mp4"), "no frame in the requested range"),
        (("--like", "a.png", "--like", "b/a.png", "scenes.mp4"), "named twice"),
        (("a dog", "scenes.mp4"), "understands no words"),
        (("still.png", "scenes.mp4"), "write --like still.png to search for it"),
        (("--like", "scenes.mp4@1-4", "scenes.mp4", "-k", "0"), "max_segments"),
        (("--like", "scenes.mp4@1-4", "scenes.mp4", "--min-score", "2"), "min_score"),
    ],
)
def test_wrong_requests_are_one_line(
    arguments: tuple[str, ...], message: str, scenes: Path, run: Run
) -> None:
    Path("scenes.mp4").symlink_to(scenes)
    Path("note.png").write_text("no image")
    write_still(Path("still.png"), 2)
    outcome = run("search", *arguments, *BACKBONE)
    assert outcome.code in (1, 2) and len(outcome.errors) == 1
    assert message in outcome.errors[0]


def test_a_search_needs_an_encoder(scenes: Path, run: Run) -> None:
    outcome = run("search", "--like", f"{scenes}@1-4", scenes)
    assert outcome.code == 2 and "--backbone" in outcome.errors[0]
