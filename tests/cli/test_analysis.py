"""``classify`` and ``timeline`` on a real video with a real, small model."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vtnstream
from tests.cli.conftest import Outcome

Run = Callable[..., Outcome]


def document(outcome: Outcome) -> Any:
    return json.loads(outcome.out)


def test_classify_prints_classes_on_stdout_and_the_rest_on_stderr(
    run: Run, video: Path, model_folder: Path
) -> None:
    outcome = run("classify", video, "--model", model_folder)
    assert outcome.code == 0, outcome.err
    assert "calm" in outcome.out and "wild" in outcome.out
    assert "film one.mp4: started, 80 frames" in outcome.err
    assert "vtnstream" not in outcome.out


def test_json_is_one_document_and_equals_the_library(
    run: Run, video: Path, model_folder: Path
) -> None:
    result = document(run("timeline", video, "-m", model_folder, "--window", "16", "--json"))
    report = vtnstream.timeline(video, window=16, model=model_folder)
    assert result["input"] == str(video)
    assert result["partial"] is None
    assert [c["label"] for c in result["classes"]] == [c.label for c in report.classes]
    assert report.segments is not None and len(result["segments"]) == len(report.segments)
    for found, wanted in zip(result["segments"], report.segments, strict=True):
        assert found["start"] == pytest.approx(wanted.start, abs=1e-5)
        assert found["label"] == wanted.label


def test_second_command_decodes_nothing(run: Run, video: Path, model_folder: Path) -> None:
    first = document(run("classify", video, "-m", model_folder, "--json"))
    second = document(run("timeline", video, "-m", model_folder, "--json", "--window", "8"))
    assert first["run"]["frames_decoded"] > 0
    assert second["run"]["frames_decoded"] == 0
    assert first["classes"] == second["classes"]


def test_one_bad_file_never_stops_the_others(
    run: Run, video: Path, broken: Path, model_folder: Path
) -> None:
    outcome = run("classify", broken, "absent.mp4", video, "-m", model_folder, "--json")
    assert outcome.code == 1
    assert len(outcome.errors) == 2
    assert "broken.mp4" in outcome.errors[0] and "absent.mp4" in outcome.errors[1]
    bad, absent, good = document(outcome)
    assert "error" in bad and "error" in absent and good["classes"]
    assert "3 videos: 1 done, 2 failed" in outcome.err


def test_failure_takes_precedence_over_partial_results(
    run: Run, video: Path, damaged: Path, broken: Path, model_folder: Path
) -> None:
    outcome = run("timeline", damaged, video, "-m", model_folder, "--json")
    assert outcome.code == 3, outcome.err
    assert document(outcome)[0]["partial"]["reasons"]
    assert "damaged.mp4: partial result" in outcome.err
    assert run("timeline", damaged, broken, "-m", model_folder).code == 1


def test_json_lines(run: Run, video: Path, broken: Path, model_folder: Path) -> None:
    outcome = run("timeline", video, broken, "-m", model_folder, "--jsonl", "-q")
    events = [json.loads(line) for line in outcome.out.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "start" and "segment" in kinds and "result" in kinds
    assert kinds[-1] == "error" and events[-1]["input"] == str(broken)
    assert outcome.err.startswith("vtnstream: error: ") and outcome.err.count("\n") == 1


def test_result_files(run: Run, video: Path, model_folder: Path) -> None:
    Path("other").mkdir()
    twin = Path("other") / video.name
    shutil.copy(video, twin)
    outcome = run("timeline", video, twin, "-m", model_folder, "-o", "out", "-f", "json,csv", "-q")
    assert outcome.code == 0
    names = sorted(os.listdir("out"))
    assert len(names) == 4 and all(name.startswith("film one.mp4") for name in names)
    inputs = {json.loads(p.read_text())["input"] for p in Path("out").glob("*.json")}
    assert inputs == {str(video), str(twin)}


def test_one_format_goes_to_standard_output(run: Run, video: Path, model_folder: Path) -> None:
    command = ("timeline", video, "-m", model_folder, "-q")
    run(*command, "-o", "out", "-f", "csv,srt,json")
    for name in ("csv", "srt"):
        written = Path(f"out/{video.name}.{name}").read_text()
        for more in ((), ("-o", "-")):
            outcome = run(*command, "-f", name, *more)
            assert (outcome.code, outcome.out, outcome.err) == (0, written, "")
    assert document(run(*command, "-o", "-"))["input"] == str(video)
    assert not Path("-").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["-f", "csv,srt"], "one format goes to standard output"),
        (["-f", "csv", "--json"], "--json and -f csv both print the result"),
        (["-f", "csv", "another.mp4"], "-f csv prints the result of one video"),
    ],
)
def test_standard_output_takes_one_text(
    run: Run, video: Path, arguments: list[str], message: str
) -> None:
    outcome = run("timeline", video, *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.errors[0]


def test_json_lines_of_several_videos_go_to_standard_output(
    run: Run, video: Path, model_folder: Path
) -> None:
    shutil.copy(video, "twin.mp4")
    outcome = run("timeline", video, "twin.mp4", "-m", model_folder, "-q", "-f", "jsonl")
    events = [json.loads(line) for line in outcome.out.splitlines()]
    assert [e["input"] for e in events if e["event"] == "result"] == [str(video), "twin.mp4"]


def test_top_k(run: Run, video: Path, model_folder: Path) -> None:
    shared = ("classify", video, "-m", model_folder, "--json")
    assert len(document(run(*shared))["classes"]) == 2
    assert len(document(run(*shared, "--top-k", "1"))["classes"]) == 1


@pytest.mark.parametrize(
    ("arguments", "tokens"),
    [
        ([], 80),
        (["--fps", "1"], 40),
        (["--num-frames", "25"], 25),
        (["--frame-stride", "8"], 50),
        (["--start", "0:10", "--end", "20s"], 20),
        (["--start", "100f", "--end", "200f"], 20),
        (["--start", "39"], 2),
    ],
)
def test_sampling_and_range(
    run: Run, video: Path, model_folder: Path, arguments: list[str], tokens: int
) -> None:
    outcome = run("classify", video, "-m", model_folder, "--json", *arguments)
    assert outcome.code == 0, outcome.err
    assert document(outcome)["run"]["tokens"] == tokens


def test_ways_agree(run: Run, video: Path, model_folder: Path) -> None:
    assert run("extract", video, "-m", model_folder, "-o", "f.safetensors").code == 0
    shared = ("classify", video, "-m", model_folder, "--json")
    ways = ([], ["--method", "end-to-end"], ["--features", "f.safetensors"], ["--no-cache"])
    scores = [
        {c["label"]: c["score"] for c in document(run(*shared, *way))["classes"]} for way in ways
    ]
    for other in scores[1:]:
        assert other == pytest.approx(scores[0], abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--window", "8", "--stride", "9"], "stride"),
        (["--onset", ".3", "--offset", ".5"], "offset"),
        (["-f", "json,csv"], "-o DIR"),
        (["--keep", "5"], "--keep does nothing without --follow"),
        (["--smoothing-size", "5"], "--smoothing-size does nothing without --smoothing"),
        (["--nms-threshold", ".4"], "--nms-threshold does nothing without --nms"),
        (["-o", "out", "-f", "jsn"], "did you mean 'json'"),
        (["--start", "soon"], "not a time"),
        (["--fps", "0"], "not a rate"),
        (["--device", "gpu"], "gpu"),
        (["--windw", "3"], "--window"),
        (["--features", "absent.safetensors", "--method", "end-to-end"], "exclude"),
        (["--localize", "nowhere"], "not one of"),
    ],
)
def test_usage_errors_are_one_line_with_code_2(
    run: Run, video: Path, model_folder: Path, arguments: list[str], word: str
) -> None:
    outcome = run("timeline", video, "-m", model_folder, *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    (line,) = outcome.errors
    assert word in line


@pytest.mark.parametrize("model", ["absent", "vtn-vit-b", "."])
def test_models_that_cannot_be_used(run: Run, video: Path, model: str) -> None:
    outcome = run("classify", video, "--model", model, "--json")
    assert (outcome.code, outcome.out) == (2, "")
    assert len(outcome.errors) == 1


def test_directories_lists_and_odd_names(run: Run, video: Path, model_folder: Path) -> None:
    names = [b"-dash.mp4", b"Episode:1.mp4", b"\xff bytes.mp4", b"deep/er/two words.mp4"]
    for name in names:
        place = Path("d") / os.fsdecode(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(video, place)
    Path("list").write_bytes(b"\0".join(b"d/" + name for name in names[:3]))
    shared = ("-m", model_folder, "--json", "--num-frames", "4")
    found = document(run("classify", "d", "-r", *shared))
    assert len(found) == 4
    found = document(run("classify", "--files-from", "list", "-0", *shared))
    assert [os.fsencode(item["input"]) for item in found] == [b"d/" + name for name in names[:3]]
    os.chdir("d")
    assert document(run("classify", *shared, "--", "-dash.mp4"))["input"] == "-dash.mp4"
    outcome = run("classify", *shared[:2], "--num-frames", "4", "--", os.fsdecode(names[2]))
    assert outcome.code == 0 and "bytes.mp4" in outcome.out


def test_debug_shows_the_traceback(run: Run, broken: Path, model_folder: Path) -> None:
    plain = run("classify", broken, "-m", model_folder)
    assert "Traceback" not in plain.err
    assert "Traceback" in run("classify", broken, "-m", model_folder, "--debug").err
