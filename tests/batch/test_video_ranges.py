"""Videos split into ranges and joined again: the same bits as in one pass."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch

from vtnstream.batch.storage import open_storage
from vtnstream.batch.workers.actor import VideoActor
from vtnstream.batch.workers.executors import AnalysisExecutor, ExtractExecutor, Part
from vtnstream.batch.workers.outcome import Task
from vtnstream.config import (
    BackboneConfig,
    HeadConfig,
    ModelConfig,
    PreprocessConfig,
    RuntimeConfig,
    SamplingConfig,
    TemporalConfig,
    TimelineConfig,
)
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.models.backbone import create_backbone
from vtnstream.models.create import create_model
from vtnstream.models.io.checkpoint import save_model
from vtnstream.progress import NullProgress
from vtnstream.video.write import write_video

PREPROCESS = PreprocessConfig(size=32, resize=32, mean=(0.5,) * 3, std=(0.5,) * 3)
BACKBONE = BackboneConfig("test_vit", {"img_size": 32})
RATE, SECONDS = 4, 210
"""Chunks of the store are 64 s at 2 frames/s: four of them."""
RANGE_SECONDS = 64.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    config = ModelConfig(
        sampling=SamplingConfig(fps=Fraction(2)),
        preprocess=PREPROCESS,
        backbone=BACKBONE,
        temporal=TemporalConfig(num_layers=1, num_heads=4, attention_window=(8,)),
        head=HeadConfig(labels=("calm", "wild")),
    )
    return str(save_model(create_model(config), tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete video, and one with overwritten packets."""

    def frames() -> Iterator[np.ndarray]:
        random = np.random.default_rng(0)
        for _ in range(RATE * SECONDS):
            yield np.kron(
                random.integers(0, 255, (8, 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8)
            )

    folder = tmp_path_factory.mktemp("films")
    write_video(folder / "whole.mp4", frames(), Fraction(RATE))
    data = bytearray((folder / "whole.mp4").read_bytes())
    start = len(data) * 2 // 5
    data[start : start + len(data) // 50] = bytes(len(data) // 50)
    (folder / "damaged.mp4").write_bytes(data)
    return folder


def timeline(model: str, cache: Path, **changes: Any) -> AnalysisExecutor:
    settings = {
        "formats": ("json",),
        "every": False,
        "top_k": None,
        "runtime": RuntimeConfig(cache_dir=cache),
        "output": cache / "out",
    }
    request = changes.pop("request", {})
    return AnalysisExecutor(model, request, TimelineConfig(), **{**settings, **changes})


def extraction(cache: Path, part: Part | None = None, **changes: Any) -> ExtractExecutor:
    torch.manual_seed(0)
    encoder = FrameEncoder(create_backbone(BACKBONE), BACKBONE, PREPROCESS)
    settings = {
        "sampling": SamplingConfig(fps=Fraction(2)),
        "runtime": RuntimeConfig(cache_dir=cache),
        "output": cache / "out",
    }
    return ExtractExecutor(encoder, part=part or Part(), **{**settings, **changes})


def straight(executor: AnalysisExecutor | ExtractExecutor, path: Path) -> Path:
    """Return the result of one process."""
    executor.output.mkdir(parents=True, exist_ok=True)
    (file,) = executor.run(Task(str(path), "film"), NullProgress()).files
    return file


def actor(make: Any, place: str) -> VideoActor:
    return VideoActor(pickle.dumps(make), place, str(Path.cwd()))


def in_ranges(made: VideoActor, path: Path, *, skip: int = 0) -> dict[str, Any]:
    """Process a video as actors do, the last range first; ``skip`` ranges are left out."""
    task = {"path": str(path), "name": "film"}
    plan = made.plan(task, RANGE_SECONDS)["plan"]
    for first, stop in reversed(plan["ranges"][skip:]):
        made.fill(task, plan, first, stop)
    outcome: dict[str, Any] = made.finish(task, plan)["outcome"]
    return outcome


def answer(data: bytes | None) -> dict[str, Any]:
    report = json.loads(data or b"")
    return {key: value for key, value in report.items() if key != "run"}


@pytest.fixture(params=["folder", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    yield str(tmp_path / "results") if request.param == "folder" else "memory://bucket/results"
    fsspec.filesystem("memory").store.clear()


@pytest.mark.parametrize(("video", "skip"), [("whole", 2), ("damaged", 0)])
def test_a_report_from_ranges_equals_that_of_one_pass(
    video: str, skip: int, place: str, videos: Path, model: str, tmp_path: Path
) -> None:
    path = videos / f"{video}.mp4"
    expected = straight(timeline(model, tmp_path / "one"), path)
    outcome = in_ranges(actor(partial(timeline, model, tmp_path / "many"), place), path, skip=skip)
    assert outcome["status"] == ("done" if video == "whole" else "partial"), outcome["error"]
    assert list(outcome["outputs"]) == ["film.json"]
    assert answer(open_storage(place).read("film.json")) == answer(expected.read_bytes())


@pytest.mark.parametrize(
    ("video", "part"),
    [("whole", Part("10", "180.3")), ("damaged", Part()), ("damaged", Part("70"))],
)
def test_features_of_ranges_equal_those_of_one_pass(
    video: str, part: Part, videos: Path, tmp_path: Path
) -> None:
    path = videos / f"{video}.mp4"
    expected = straight(extraction(tmp_path / "one", part), path)
    place = str(tmp_path / "results")
    in_ranges(actor(partial(extraction, tmp_path / "many", part), place), path)
    assert open_storage(place).read("film.safetensors") == expected.read_bytes()


def test_the_ranges_are_cut_on_the_grid_and_each_is_done_once(
    videos: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, place = videos / "whole.mp4", str(tmp_path / "results")
    made = actor(partial(timeline, model, tmp_path / "many"), place)
    task = {"path": str(path), "name": "film"}
    plan = made.plan(task, RANGE_SECONDS)["plan"]
    assert plan["ranges"] == ((0, 1), (1, 2), (2, 3), (3, 4))
    assert len(made.plan(task, 130.0)["plan"]["ranges"]) == 2
    assert made.plan(task, 600.0) == {}, "short enough for one piece"
    made.fill(task, plan, 1, 2)
    assert made.plan(task, RANGE_SECONDS)["plan"]["ranges"] == ((0, 1), (2, 3), (3, 4))
    for first, stop in plan["ranges"]:
        made.fill(task, plan, first, stop)

    def refuse(*arguments: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(FrameEncoder, "encode", refuse)
    assert made.finish(task, plan)["outcome"]["status"] == "done"
    assert made.plan(task, RANGE_SECONDS)["plan"]["ranges"] == ()
    request = actor(partial(timeline, model, tmp_path / "many", top_k=1), place)
    assert request.plan(task, RANGE_SECONDS)["plan"]["ranges"] == (), "another request"
    assert request.finish(task, plan)["outcome"]["status"] == "done"


@pytest.mark.parametrize("harm", ["flip", "swap", "gone"])
def test_a_damaged_chunk_is_computed_again(
    harm: str, videos: Path, model: str, tmp_path: Path
) -> None:
    path, place = videos / "whole.mp4", str(tmp_path / "results")
    expected = straight(timeline(model, tmp_path / "one"), path)
    made = actor(partial(timeline, model, tmp_path / "many"), place)
    assert in_ranges(made, path)["status"] == "done"
    chunk, other = sorted((tmp_path / "results" / "features").glob("*/0*.safetensors"))[1:3]
    data = bytearray(chunk.read_bytes())
    if harm == "flip":
        data[len(data) // 2] ^= 1
    chunk.write_bytes(
        other.read_bytes() if harm == "swap" else data[: -1 if harm == "cut" else None]
    )
    if harm == "gone":
        chunk.unlink()
    assert in_ranges(made, path)["status"] == "done"
    assert answer((tmp_path / "results" / "film.json").read_bytes()) == answer(
        expected.read_bytes()
    )


def test_another_video_with_equal_samples_is_recognised(
    videos: Path, model: str, tmp_path: Path
) -> None:
    """Chunks are stored under the hash of the whole file, which detects changes between the 16
    blocks."""
    first = tmp_path / "film.mp4"
    first.write_bytes((videos / "whole.mp4").read_bytes() + bytes(4 * 2**20))
    made = actor(partial(timeline, model, tmp_path / "many"), str(tmp_path / "results"))
    task = {"path": str(first), "name": "film"}
    folder = made.plan(task, RANGE_SECONDS)["plan"]["folder"]
    with open(first, "r+b") as file:
        file.seek(-100_000, 2)
        file.write(b"\1")
    other = made.plan(task, RANGE_SECONDS)["plan"]["folder"]
    assert folder != other and folder.partition("-")[0] == other.partition("-")[0]


def test_without_a_cache_nothing_is_left(videos: Path, model: str, tmp_path: Path) -> None:
    make = partial(timeline, model, tmp_path, runtime=RuntimeConfig(use_cache=False))
    outcome = in_ranges(actor(make, str(tmp_path / "results")), videos / "whole.mp4")
    assert outcome["status"] == "done"
    assert not list((tmp_path / "results").rglob("*.safetensors"))


def test_videos_without_a_common_grid_are_not_split(
    videos: Path, model: str, tmp_path: Path
) -> None:
    task = {"path": str(videos / "whole.mp4"), "name": "film"}
    for request in (
        {"sampling": SamplingConfig(kind="uniform", num_frames=300)},
        {"method": "end-to-end"},
    ):
        made = actor(partial(timeline, model, tmp_path, request=request), str(tmp_path / "x"))
        assert made.plan(task, RANGE_SECONDS) == {}


def test_errors_are_returned_as_outcomes(videos: Path, model: str, tmp_path: Path) -> None:
    place = str(tmp_path / "results")
    assert "refused" in actor(partial(timeline, "nowhere", tmp_path), place).facts()
    assert "broken" in actor(partial(timeline), place).facts()
    made = actor(partial(timeline, model, tmp_path), place)
    assert "facts" in made.facts()
    absent = {"path": str(tmp_path / "absent.mp4"), "name": "absent"}
    assert made.plan(absent, RANGE_SECONDS) == {}
    assert made.finish(absent, None)["outcome"]["code"] == "open"
    dense = partial(
        AnalysisExecutor, model, {}, TimelineConfig(localize="dense"), formats=("json",)
    )
    dense = partial(dense, every=False, top_k=None, runtime=RuntimeConfig(), output=tmp_path)
    video = {"path": str(videos / "whole.mp4"), "name": "film"}
    assert "dense" in actor(dense, place).finish(video, None)["refused"]
