"""Jobs through the server, with real worker processes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import frames
from tests.patience import HANG
from tests.report.cases import report
from tests.studio.conftest import Served, write_result
from tests.synth import SyntheticVideo
from vtnstream.batch.workers.outcome import Task
from vtnstream.progress import NullProgress
from vtnstream.report.reading import read_report
from vtnstream.studio.jobs.executors import PreviewExecutor
from vtnstream.studio.results.playing import way_to_play
from vtnstream.types import Segment
from vtnstream.video.probe import probe
from vtnstream.video.write import write_video

Serve = Callable[..., Served]


def events(served: Served, number: int) -> list[dict[str, Any]]:
    """The states of a job as server-sent events, until it ends."""
    status, headers, body = served.ask("GET", f"/api/jobs/{number}/events")
    assert status == 200 and headers["content-type"].startswith("text/event-stream")
    return [json.loads(line[6:]) for line in body.decode().splitlines() if line[:6] == "data: "]


def test_what_is_asked_for_must_lie_in_the_folders(serve: Serve, folder: Path) -> None:
    served = serve(folder)
    for body, status in (
        ({"paths": ["/etc/passwd"]}, 422),
        ({"paths": ["../"]}, 422),
        ({"paths": ["x\x00y"]}, 422),
        ({"paths": []}, 422),
        ({"paths": ["25 film.mp4"], "model": "../../etc"}, 404),
        ({"paths": ["25 film.mp4"], "task": "rm"}, 422),
        ({"ids": ["0123"]}, 404),
        ({"ids": [served.ids()["long.mkv"]]}, 404),
    ):
        assert "\n" not in served.post("/api/jobs", body, status)["error"]
    assert served.post("/api/training", {"name": "x"}, 422)["error"].startswith("nothing to learn")
    assert served.get("/api/jobs") == [] and served.get("/api/models") == []
    assert served.ask("DELETE", "/api/jobs/1")[0] == 404
    assert served.ask("GET", "/api/jobs/1/events")[0] == 404


def test_a_copy_that_browsers_play(serve: Serve, folder: Path) -> None:
    old = SyntheticVideo(count=50, codec="mpeg4", options={}, ticks=25).write(folder / "old.avi")
    segments = (Segment(0, 1, "a", 0.5),)
    one = report(input=str(old), video=probe(old), segments=segments, end_seconds=2.0)
    write_result(one, folder)
    served = serve(folder)
    served.studio.start()
    for name, way in (("29.97 film.mkv", "remux"), ("old.avi", "encode")):
        number = served.ids()[name]
        assert served.get(f"/api/results/{number}/playing")["way"] == way
        job = served.post(f"/api/results/{number}/preview", {}, 202)
        assert events(served, job["id"])[-1]["state"] == "done"
        playing = served.get(f"/api/results/{number}/playing")
        assert playing["way"] == "preview"
        status, headers, body = served.ask("GET", playing["address"])
        assert status == 200 and headers["content-type"] == "video/mp4"
        copy = folder / "copy.mp4"
        copy.write_bytes(body)
        info = probe(copy)
        assert info.codec_name == "h264" and info.first_frame_seconds == 0
        length = {"old.avi": Fraction(2), "29.97 film.mkv": Fraction(150 * 1001, 30000)}[name]
        assert abs((info.duration_from_header or 0) - length) < Fraction(1, 10)
        assert served.ask("GET", f"/api/results/{number}/pictures/60")[0] == 200


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for number in range(4):
        write_video(folder / f"{number}.mp4", frames(10), Fraction(10))
    return folder


def test_paths_are_relative_to_any_folder_of_the_studio(
    serve: Serve, videos: Path, tmp_path: Path
) -> None:
    results = tmp_path / "made"
    results.mkdir()
    served = serve(results, videos=[videos])  # its jobs are not started
    job = served.post("/api/jobs", {"paths": ["1.mp4", "."], "task": "classify"}, 202)
    stored = served.studio.queue.find(job["id"]).request
    assert stored["paths"] == [str(videos / "1.mp4")]
    served.post("/api/jobs", {"paths": ["9.mp4"]}, 422)


@pytest.mark.slow
def test_analyse_correct_train_and_compare(serve: Serve, videos: Path, tmp_path: Path) -> None:
    results = tmp_path / "made"
    results.mkdir()
    served = serve(results, videos=[videos])
    served.studio.start()
    job = served.post("/api/jobs", {"paths": [str(videos)]}, 202)
    seen = events(served, job["id"])
    assert seen[-1]["state"] == "done" and seen[-1]["note"] == "4 videos done"
    served.studio.index.wait()
    found = served.ids(state="done")
    assert len(found) == 4
    for name in found.values():
        state = served.get(f"/api/results/{name}")["corrected"]
        path, revision = f"/api/results/{name}/changes", 0
        ids = [s["id"] for s in state["segments"]]
        if ids:
            served.post(path, {"revision": 0, "kind": "delete", "ids": ids})
            revision = 1
        spans = ((0.0, 5.0, "dark"), (5.0, 10.0, "bright"))
        for start, end, label in spans:
            body = {"kind": "add", "start": start, "end": end, "label": label}
            served.post(path, {"revision": revision, **body})
            revision += 1
    request = {"name": "mine", "backbone": "test_vit", "epochs": 2, "fps": 1}
    job = served.post("/api/training", {**request, "backbone": ""}, 202)
    end = events(served, job["id"])[-1]
    assert end["state"] == "done", end["note"]
    (model,) = served.get("/api/models")
    assert model["ready"] and model["metrics"][-1]["loss"] > 0
    (held,) = model["comparison"]
    assert held["truth"] == [[0.0, 5.0, "dark"], [5.0, 10.0, "bright"]]
    assert 0 <= held["after"] <= 100
    job = served.post("/api/jobs", {"ids": list(found.values()), "model": "mine"}, 202)
    assert events(served, job["id"])[-1]["state"] == "done"
    assert read_report(results / "0.mp4.json").model["name"] != "edits"
    found_again = served.get(f"/api/results/{found['0.mp4']}")["corrected"]
    assert found_again["remade"] and found_again["segments"][0]["label"] == "dark"


def test_corrections_and_jobs_survive_kill(
    command: Callable[[], tuple[subprocess.Popen[str], Served]],
) -> None:
    process, served = command()
    name = served.ids()["25 film.mp4"]
    path = f"/api/results/{name}/changes"
    served.post(path, {"revision": 0, "kind": "relabel", "ids": ["m0"], "label": "mine"})
    number = served.ids()["29.97 film.mkv"]
    job = served.post(f"/api/results/{number}/preview", {}, 202)
    process.kill()
    process.wait()
    process, served = command()
    found = served.get(f"/api/results/{name}")["corrected"]
    assert found["revision"] == 1 and found["segments"][0]["label"] == "mine"
    assert events(served, job["id"])[-1]["state"] == "done"  # it went on by itself
    process.send_signal(2)
    _, err = process.communicate(timeout=HANG)
    assert process.returncode == 0 and "all corrections are saved" in err


def test_a_file_with_two_videos_is_not_left_to_the_browser(tmp_path: Path) -> None:
    """A browser would choose a stream of its own, which may not be the analysed one."""
    both = SyntheticVideo(count=20, ticks=25, second_stream=(64, 48)).write(tmp_path / "two.mp4")
    one = SyntheticVideo(count=20, ticks=25).write(tmp_path / "one.mp4")
    assert way_to_play(probe(both), both) == "encode"
    assert way_to_play(probe(one), one) == "direct"
    small = next(k for k in (0, 1) if probe(both, stream=k).width == 64)
    executor = PreviewExecutor(tmp_path / "made", small)
    (made,) = executor.run(Task(str(both), "copy.mp4"), NullProgress()).files
    info = probe(made)
    assert (info.num_video_streams, info.width, info.height) == (1, 64, 48)
