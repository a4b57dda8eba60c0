"""Search in words and by examples over the library, and suggestions of what to label."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.report.cases import report
from tests.search.scenes import SCENE_SECONDS, write_scenes
from tests.studio.conftest import Served, write_result
from tests.studio.jobs.test_jobs import events
from tests.words.towers import write_model
from vtnstream.batch.workers.outcome import Task
from vtnstream.config import (
    BackboneConfig,
    HeadConfig,
    ModelConfig,
    PreprocessConfig,
    TemporalConfig,
)
from vtnstream.errors import UsageError
from vtnstream.models.create import create_model
from vtnstream.models.io.checkpoint import save_model
from vtnstream.progress import NullProgress
from vtnstream.studio.finding.worker import ReadExecutor, SearchExecutor, SuggestExecutor
from vtnstream.types import Segment
from vtnstream.video.probe import probe

Serve = Callable[..., Served]
LENGTH = 5.0 * SCENE_SECONDS


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("words") / "clip", "clip")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder / "a.mp4")
    write_scenes(folder / "b.mp4", (4, 5, 4))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of some labels with random weights, whose predictions are scaled to differ."""
    torch.manual_seed(0)
    config = ModelConfig(
        name="small",
        preprocess=PreprocessConfig(size=64, resize=64, mean=(0.5,) * 3, std=(0.5,) * 3),
        backbone=BackboneConfig("test_vit", {"img_size": 64}),
        temporal=TemporalConfig(num_layers=1, num_heads=4, intermediate_size=32),
        head=HeadConfig(labels=(), dense_labels=("background", "dark", "light")),
    )
    model = create_model(config)
    with torch.no_grad():
        for parameter in model.dense_head.parameters():
            parameter.mul_(20)
    return save_model(model, tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VTNSTREAM_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def ask(executor: Any, folder: Path, **request: Any) -> dict[str, Any]:
    """The answer of an executor to a request."""
    path = folder / "request.json"
    path.write_text(json.dumps(request), "utf-8")
    (answer,) = executor.run(Task(str(path), "request"), NullProgress()).files
    found: dict[str, Any] = json.loads(answer.read_text("utf-8"))
    return found


def write_results(scenes: Path, folder: Path) -> Path:
    for path in sorted(scenes.iterdir()):
        info = probe(path)
        end = float(info.duration_from_header or 0)
        one = report(
            input=str(path), video=info, segments=(Segment(0, end, "all", 0.5),), end_seconds=end
        )
        write_result(one, folder)
    return folder


def test_a_search_reads_what_is_stored_and_decodes_nothing(
    words: Path, scenes: Path, cache: Path, tmp_path: Path
) -> None:
    searcher = SearchExecutor(str(words), None)
    videos = [str(scenes / "a.mp4"), str(scenes / "b.mp4"), str(tmp_path / "gone.mp4")]
    request = {"videos": videos, "limit": 10, "per_video": 5, "text": "", "example": None}
    empty = ask(searcher, tmp_path, **{**request, "text": "the dog"})
    assert (empty["searched"], empty["missing"]) == (0, videos)
    assert not list(cache.glob("features/*/*/*.safetensors"))
    ReadExecutor(str(words)).run(Task(videos[0], "a"), NullProgress())
    spoken = ask(searcher, tmp_path, **{**request, "text": "@/etc/passwd"})  # words, not a file
    assert (spoken["searched"], spoken["missing"]) == (1, videos[1:])


def test_a_search_by_example_ranks_segments(
    trained: Path, scenes: Path, cache: Path, tmp_path: Path
) -> None:
    searcher, reader = SearchExecutor(str(trained), None), ReadExecutor(str(trained))
    videos = [str(scenes / "a.mp4"), str(scenes / "b.mp4")]
    for video in videos:
        reader.run(Task(video, "any"), NullProgress())
    example = {"path": videos[0], "start": 1.0, "end": 5.0}
    request = {"videos": videos, "per_video": 5, "text": "", "example": example}
    alike = ask(searcher, tmp_path, **request, limit=2)["found"]
    assert len(alike) == 2 and all(one["path"] == videos[0] for one in alike)
    spans = sorted((one["start"], one["end"]) for one in alike)
    assert spans[0][0] == 0 and spans[0][1] <= SCENE_SECONDS + 2  # the scene itself,
    assert spans[1][0] >= LENGTH - SCENE_SECONDS - 2  # and where it comes again
    assert alike[0]["score"] >= alike[1]["score"] >= 0.5


def test_words_need_a_model_with_words(trained: Path, cache: Path, tmp_path: Path) -> None:
    searcher = SearchExecutor(str(trained), None)
    request = {"videos": [], "limit": 10, "per_video": 5, "text": "the dog", "example": None}
    with pytest.raises(UsageError, match="understands no words"):
        ask(searcher, tmp_path, **request)


def test_spans_that_a_person_labelled_are_not_suggested(
    trained: Path, scenes: Path, cache: Path, tmp_path: Path
) -> None:
    suggester = SuggestExecutor(str(trained))
    video = str(scenes / "a.mp4")
    request: dict[str, Any] = {"videos": [video], "limit": 3, "length": 6.0, "labelled": {}}
    found = ask(suggester, tmp_path, **request)["found"]
    assert 0 < len(found) <= 3 and found[0]["rank"] == 1 and found[0]["path"] == video
    half = ask(suggester, tmp_path, **{**request, "labelled": {video: [[0.0, LENGTH / 2]]}})
    assert half["found"] and all(one["end"] > LENGTH / 2 for one in half["found"])
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    rest = ask(suggester, tmp_path, **{**request, "videos": [str(broken), video]})
    assert len(rest["failed"]) == 1 and rest["found"] == found


def test_what_is_missing_for_a_search_is_said(serve: Serve, folder: Path, cache: Path) -> None:
    served = serve(folder)
    status = served.get("/api/search")
    assert not status["ready"] and status["model"] == "siglip2-base"
    assert "vtnstream models download siglip2-base" in status["problem"]
    said = served.post("/api/search", {"text": "a dog"}, 422)
    assert said["error"] == status["problem"]
    served.post("/api/search/features", {}, 422)
    assert served.get("/api/suggestions") is None
    assert "train one" in served.post("/api/suggestions", {}, 422)["error"]
    served.post("/api/suggestions", {"model": "../../etc"}, 404)


def test_requests_of_a_search_are_checked(serve: Serve, folder: Path, words: Path) -> None:
    served = serve(folder, search_model=str(words))
    assert served.get("/api/search")["ready"]
    mine, gone = served.ids()["25 film.mp4"], served.ids()["long.mkv"]
    for body, status in (
        ({}, 422),
        ({"text": " "}, 422),
        ({"text": "a" * 301}, 422),
        ({"text": "a", "limit": 0}, 422),
        ({"text": "a", "per_video": 1000}, 422),
        ({"example": {"id": mine, "start": 3, "end": 1}}, 422),
        ({"example": {"id": mine, "start": 0, "end": 1e9}}, 422),
        ({"example": {"id": mine, "start": 90, "end": 91}}, 422),
        ({"example": {"id": "0123", "start": 0, "end": 1}}, 404),
        ({"example": {"id": gone, "start": 0, "end": 1}}, 404),
    ):
        assert "\n" not in served.post("/api/search", body, status)["error"]
    job = served.post("/api/search", {"text": "a  dog"}, 202)
    assert served.studio.queue.find(job["id"]).request["text"] == "a dog"
    assert served.get("/api/jobs") == []  # searches do not crowd the list of jobs
    status, headers, body = served.ask("GET", f"/api/results/{mine}/frame?start=1&end=2")
    assert status == 200 and headers["content-type"] == "image/jpeg" and body[:2] == b"\xff\xd8"
    assert served.ask("GET", f"/api/results/{mine}/frame?start=90&end=91")[0] == 404
    assert served.ask("GET", f"/api/results/{mine}/frame?start=nan&end=2")[0] in (404, 422)


@pytest.mark.slow
def test_read_search_and_suggest_through_the_queue(
    serve: Serve, trained: Path, scenes: Path, cache: Path, tmp_path: Path
) -> None:
    results = write_results(scenes, tmp_path / "results")
    served = serve(results, videos=[scenes], search_model=str(trained))
    served.studio.start()
    ids = served.ids()
    example = {"id": ids["a.mp4"], "start": 1.0, "end": 5.0}
    job = served.post("/api/search", {"example": example}, 202)
    end = events(served, job["id"])[-1]
    assert end["state"] == "done", end["note"]
    assert end["outcome"]["missing"] == 1  # reading the example stored the features of its video
    job = served.post("/api/search/features", {}, 202)
    assert events(served, job["id"])[-1]["note"] == "2 videos done"
    job = served.post("/api/search", {"example": example}, 202)
    outcome = events(served, job["id"])[-1]["outcome"]
    assert (outcome["searched"], outcome["missing"]) == (2, 0)
    (best, *_) = outcome["found"]  # the example itself is left out
    assert best["id"] == ids["a.mp4"] and best["start"] >= LENGTH - SCENE_SECONDS - 2
    assert not list((results / ".vtnstream-studio" / "requests").iterdir())
    shutil.copytree(trained, results / "mine")
    job = served.post("/api/suggestions", {"model": "mine", "limit": 2, "length": 4}, 202)
    assert events(served, job["id"])[-1]["note"] == "2 spans to label"
    assert [one["rank"] for one in served.get("/api/suggestions")["outcome"]["found"]] == [1, 2]
