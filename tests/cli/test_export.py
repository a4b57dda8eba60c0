"""``export`` and ``show`` of stored results, without a model and without decoding."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from tests.cli.conftest import Outcome

Run = Callable[..., Outcome]


@pytest.fixture(scope="session")
def stored(
    video: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The output of ``classify`` and ``timeline`` with ``--json``."""
    place = tmp_path_factory.mktemp("results")
    found = {}
    for command in ("classify", "timeline"):
        arguments = [command, str(video), "-m", str(model_folder), "-o", str(place), "-q"]
        environment = {**os.environ, "XDG_CACHE_HOME": str(place / "cache")}
        line = [sys.executable, "-m", "vtnstream", *arguments]
        subprocess.run(line, check=True, env=environment, stdout=subprocess.DEVNULL)
        found[command] = (place / f"{video.name}.json").read_bytes()
    return found


@pytest.fixture
def result(stored: dict[str, bytes], home: Path) -> Path:
    path = Path("results") / "film one.mp4.json"
    path.parent.mkdir()
    path.write_bytes(stored["timeline"])
    return path


def test_formats_go_beside_the_result(run: Run, result: Path) -> None:
    before = result.read_bytes()
    outcome = run("export", result, "-f", "srt,otio")
    assert (outcome.code, outcome.out) == (0, ""), outcome.err
    assert sorted(os.listdir("results")) == [
        "film one.mp4.json",
        "film one.mp4.otio",
        "film one.mp4.srt",
    ]
    assert "wrote results/film one.mp4.srt" in outcome.err
    assert result.read_bytes() == before


def test_one_format_is_printed(run: Run, result: Path) -> None:
    run("export", result, "-f", "csv")
    written = Path("results/film one.mp4.csv").read_text()
    outcome = run("export", result, "-f", "csv", "-o", "-")
    assert (outcome.code, outcome.out, outcome.err) == (0, written, "")
    for arguments in ((result, "-f", "csv,srt"), (result, result, "-f", "csv")):
        outcome = run("export", *arguments, "-o", "-")
        assert (outcome.code, outcome.out) == (2, "") and len(outcome.errors) == 1
    assert not Path("-").exists()


def test_all_leaves_the_result_itself_alone(run: Run, result: Path) -> None:
    edited = json.loads(result.read_text()) | {"note": "kept"}
    result.write_text(json.dumps(edited))
    assert run("export", result, "-f", "all").code == 0
    assert json.loads(result.read_text())["note"] == "kept"
    assert run("export", result, "-f", "all", "-o", "other").code == 0
    assert set(os.listdir("other")) == set(os.listdir("results"))


def test_nothing_heavy_is_imported(result: Path) -> None:
    code = (
        "import sys; from vtnstream.cli.main import main; "
        f"assert main(['export', {str(result)!r}, '-f', 'srt,fcpxml', '-q']) == 0; "
        f"assert main(['show', {str(result)!r}]) == 0; "
        "assert not {'torch', 'av', 'timm', 'opentimelineio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_show_prints_the_output_of_timeline(
    run: Run, video: Path, model_folder: Path, result: Path
) -> None:
    printed = run("timeline", video, "-m", model_folder).out
    again = run("show", result).out

    # All but the facts of the run, which say how long it took.
    assert again.partition("\n\n")[2] == printed.partition("\n\n")[2] != ""
    assert len(run("show", result, result, "--segments", "0").out) < 2 * len(again)


def test_results_through_a_pipe_and_several_in_one_file(
    run: Run, result: Path, stored: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    several = [
        json.loads(stored["timeline"]),
        {"schema": "vtnstream/report/1", "input": "b.mp4", "error": "b.mp4: is empty"},
        json.loads(stored["classify"]),
    ]
    stream = io.TextIOWrapper(io.BytesIO(json.dumps(several).encode()))
    monkeypatch.setattr(sys, "stdin", stream)
    outcome = run("export", "-", "-f", "vtt")
    assert outcome.code == 1
    assert Path("film one.mp4.vtt").read_text().startswith("WEBVTT")
    assert len(outcome.errors) == 2
    assert "no vtt: it holds a timeline" in outcome.errors[0] + outcome.errors[1]
    assert "result 2: holds no result: b.mp4: is empty" in outcome.errors[0] + outcome.errors[1]


def test_chapters_go_into_a_copy(run: Run, video: Path, result: Path) -> None:
    outcome = run("export", result, "--chapters-into", "copy.mkv")
    assert outcome.code == 0, outcome.err
    segments = json.loads(result.read_text())["segments"]
    if shutil.which("ffprobe"):
        command = ["ffprobe", "-v", "error", "-of", "json", "-show_chapters", "copy.mkv"]
        shown = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        titles = [chapter["tags"]["title"] for chapter in shown["chapters"]]
        assert [title for title in titles if title != "background"] == [
            segment["label"] for segment in segments
        ]
    again = run("export", result, "--chapters-into", "copy.mkv")
    assert again.code == 1 and "copy.mkv: exists already" in again.errors[0]


def test_the_video_is_found_and_another_is_rejected(run: Run, video: Path, result: Path) -> None:
    document = json.loads(result.read_text()) | {"input": "gone/film one.mp4"}
    result.write_text(json.dumps(document))
    arguments = ("export", result, "--chapters-into", "copy.mkv")
    outcome = run(*arguments)
    assert outcome.code == 1 and "name it with --video" in outcome.errors[0]
    Path("results/film one.mp4").write_bytes(video.read_bytes()[:-1] + b"x")
    outcome = run(*arguments)
    assert outcome.code == 1 and "its bytes differ" in outcome.err
    outcome = run(*arguments, "--video", "results/film one.mp4")
    assert outcome.code == 2 and "its bytes differ" in outcome.errors[0]
    assert not Path("copy.mkv").exists()
    assert run(*arguments, "--video", video).code == 0
    Path("copy.mkv").unlink()
    shutil.copy(video, "results/film one.mp4")
    assert run(*arguments).code == 0


def test_a_page_has_thumbnails_and_the_video_where_it_is_at_hand(
    run: Run, video: Path, model_folder: Path, result: Path
) -> None:
    segments = json.loads(result.read_text())["segments"]
    assert run("export", result, "-f", "html").code == 0
    page = Path("results/film one.mp4.html").read_text()
    assert page.count("data:image/jpeg;base64,") == len(segments)
    source = os.path.relpath(video, "results").replace(" ", "%20")
    assert f'<video id="video" src="./{source}"' in page
    outcome = run("timeline", video, "-m", model_folder, "-o", "out", "-f", "html")
    assert outcome.code == 0
    assert "data:image/jpeg" in Path("out/film one.mp4.html").read_text()
    document = json.loads(result.read_text()) | {"input": "gone.mp4"}
    result.write_text(json.dumps(document))
    assert run("export", result, "-f", "html").code == 0
    assert "No thumbnails" in Path("results/gone.mp4.html").read_text()


def test_the_printed_schema_validates_results(run: Run, result: Path) -> None:
    outcome = run("export", "--schema")
    schema = json.loads(outcome.out)
    jsonschema.validate(json.loads(result.read_text()), schema)
    document = json.loads(result.read_text())
    assert document["timebase"] == {"rate": "10", "constant": True, "drop_frame": False}
    assert len(document["run"]["video_blocks_sha256"]) == 64
    assert document["run"]["video_sha256"] and document["run"]["device"] == "cpu"
    assert len(document["model"]["config_sha256"]) == 64
    assert document["scores"] and document["scores"][0]["values"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-f", "str"], 2, "did you mean 'srt'"),
        ([], 2, "no format"),
        (["-f", "srt", "--video", "absent.mp4"], 2, "absent.mp4: no such file"),
        (["-f", "srt", "-o", "results/film one.mp4.json/x"], 1, "cannot be made"),
        (["--chapters-into", "copy.avi"], 1, "chapters are kept in"),
    ],
)
def test_requests_that_cannot_be_met(
    run: Run, result: Path, arguments: list[str], code: int, words: str
) -> None:
    outcome = run("export", result, *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    (line,) = outcome.errors
    assert words in line
    assert os.listdir("results") == ["film one.mp4.json"]


@pytest.mark.parametrize(("name", "wanted"), [("film.srt", "srt"), ("a/film.csv", "csv")])
def test_a_file_in_place_of_a_folder_is_an_error(
    run: Run, video: Path, model_folder: Path, name: str, wanted: str
) -> None:
    before = sorted(os.listdir())
    outcome = run("timeline", video, "-m", model_folder, "-o", name)
    assert outcome.code == 2 and sorted(os.listdir()) == before
    (line,) = outcome.errors
    assert name in line and f"-o DIR -f {wanted}" in line


@pytest.mark.parametrize("command", ["show", "export"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON, as results are; a result is written by `vtnstream timeline VIDEO -o DIR`"),
        ('{"schema": "vtnstream/report/9"}', "newer than this vtnstream"),
        ('{"schema": "vtnstream/report/1", "input": "x"}', "video: expected object"),
        ("[]", None),
    ],
)
def test_files_that_are_no_results(run: Run, command: str, text: str, words: str | None) -> None:
    Path("bad.json").write_text(text)
    outcome = run(command, "bad.json", *(["-f", "srt"] if command == "export" else []))
    if words is None:
        assert (outcome.code, outcome.out) == (0, "")
        return
    assert outcome.code == 1 and os.listdir() == ["bad.json"]
    (line,) = outcome.errors
    assert "bad.json: " in line and words in line
    assert run(command, "absent.json", *(["-f", "srt"] if command == "export" else [])).code == 1


def test_no_names_and_classes_without_a_timeline(
    run: Run, video: Path, model_folder: Path, stored: dict[str, bytes]
) -> None:
    assert run("show").code == 2 and run("export", "-f", "srt").code == 2
    arguments = ("classify", video, "-m", model_folder, "-o", "out", "-f", "srt")
    outcome = run(*arguments)
    assert outcome.code == 2 and "srt holds a timeline" in outcome.errors[0]
    Path("class.json").write_bytes(stored["classify"])
    outcome = run("export", "class.json", "-f", "all", "-o", "out")
    assert outcome.code == 0 and "no srt: it holds a timeline" in outcome.err
    assert "film one.mp4.csv" in os.listdir("out") and len(os.listdir("out")) < 8
