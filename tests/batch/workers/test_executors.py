"""The real executors: their files, and the settings that change their results."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vtnstream.batch.workers.executor import RequestRefused, attempt
from vtnstream.batch.workers.executors import AnalysisExecutor, ExtractExecutor, Part
from vtnstream.batch.workers.outcome import Outcome, Task
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
from vtnstream.models.create import create_model
from vtnstream.models.io.checkpoint import load_model, save_model
from vtnstream.progress import NullProgress
from vtnstream.video.write import write_video

PREPROCESS = PreprocessConfig(size=64, resize=64, mean=(0.5,) * 3, std=(0.5,) * 3)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    config = ModelConfig(
        sampling=SamplingConfig(fps=Fraction(2)),
        preprocess=PREPROCESS,
        backbone=BackboneConfig("test_vit", {"img_size": 64}),
        temporal=TemporalConfig(num_layers=1, num_heads=4, attention_window=(8,)),
        head=HeadConfig(labels=("calm", "wild")),
    )
    return str(save_model(create_model(config), tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> str:
    def frames() -> Iterator[np.ndarray]:
        random = np.random.default_rng(0)
        for _ in range(40):
            yield random.integers(0, 255, (64, 64, 3), np.uint8)

    path = tmp_path_factory.mktemp("films") / "film.mp4"
    write_video(path, frames(), Fraction(10))
    return str(path)


def analysis(model: str, folder: Path, **changes: Any) -> AnalysisExecutor:
    request = {key: changes.pop(key) for key in ("sampling", "start", "end") if key in changes}
    settings = {
        "localize": TimelineConfig(),
        "formats": ("json",),
        "every": False,
        "top_k": None,
        "runtime": RuntimeConfig(cache_dir=folder / "cache"),
        "output": folder / "out",
    }
    return AnalysisExecutor(model, request, **{**settings, **changes})


def do(executor: AnalysisExecutor | ExtractExecutor, path: str) -> Outcome:
    return attempt(executor, Task(path, "name"), NullProgress())


def test_reports_are_written_under_the_given_name(model: str, video: str, tmp_path: Path) -> None:
    outcome = do(analysis(model, tmp_path, formats=("json", "csv")), video)
    assert (outcome.status, outcome.code, outcome.error) == ("done", "ok", None)
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert outcome.outputs == sizes and set(sizes) == {"name.json", "name.csv"}
    assert outcome.file is not None
    assert outcome.file["size_bytes"] == os.stat(video).st_size


@pytest.mark.parametrize(
    ("data", "code"), [(None, "open"), (b"", "open"), (b"text" * 1000, "open")]
)
def test_failures_have_codes(data: bytes | None, code: str, model: str, tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    if data is not None:
        path.write_bytes(data)
    outcome = do(analysis(model, tmp_path), str(path))
    assert (outcome.status, outcome.code) == ("failed", code)
    assert outcome.error is not None and str(path) in outcome.error
    assert outcome.traceback is not None and "VideoOpenError" in outcome.traceback


def test_a_fifo_does_not_stop_a_worker(model: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    outcome = do(analysis(model, tmp_path), str(tmp_path / "pipe.mp4"))
    assert (outcome.status, outcome.file) == ("failed", None)


def test_a_range_beyond_the_video_is_its_failure_alone(
    model: str, video: str, tmp_path: Path
) -> None:
    outcome = do(analysis(model, tmp_path, start="1:00:00"), video)
    assert outcome.code == "decode"
    assert outcome.error is not None and "the video ends at" in outcome.error


def test_a_request_that_fits_no_video_is_refused(model: str, video: str, tmp_path: Path) -> None:
    executor = analysis(model, tmp_path, localize=TimelineConfig(localize="dense"))
    with pytest.raises(RequestRefused, match="dense"):
        do(executor, video)


def test_a_full_disk_is_a_failure_of_the_system(model: str, video: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    assert do(analysis(model, tmp_path, output=tmp_path / "file"), video).code == "output"
    runtime = RuntimeConfig(cache_dir=tmp_path / "file")
    assert do(analysis(model, tmp_path, runtime=runtime), video).code == "store"


def test_everything_that_determines_results_is_in_the_key(model: str, tmp_path: Path) -> None:
    make = partial(analysis, model, tmp_path)
    plain = make().facts.key
    dtypes = (RuntimeConfig(dtype="float32"), RuntimeConfig(dtype="bfloat16"))
    assert len({make(runtime=runtime).facts.key for runtime in dtypes} | {plain}) == 2
    runtime = RuntimeConfig(batch_size=3, threads=None, cache_dir=tmp_path / "other")
    assert make(runtime=runtime, output=tmp_path / "elsewhere").facts.key == plain
    other = load_model(model)
    with torch.no_grad():
        next(other.mlp_head.parameters()).view(-1)[0] += 1
    save_model(other, tmp_path / "trained")
    changed = [
        make(localize=None),
        make(localize=TimelineConfig(window=8)),
        make(sampling=SamplingConfig(fps=Fraction(1))),
        make(start="1"),
        make(end="1"),
        make(formats=("json", "csv")),
        make(top_k=1),
        analysis(str(tmp_path / "trained"), tmp_path),
    ]
    keys = {executor.facts.key for executor in changed}
    assert len(keys) == len(changed) and plain not in keys


def test_the_key_depends_on_all_settings(video: str, tmp_path: Path) -> None:
    def extraction(seed: int = 0, **changes: Any) -> ExtractExecutor:
        torch.manual_seed(seed)
        config = BackboneConfig("test_vit", {"img_size": 64})
        from vtnstream.models.backbone import create_backbone

        encoder = FrameEncoder(create_backbone(config), config, PREPROCESS)
        settings = {
            "sampling": SamplingConfig(fps=Fraction(2)),
            "part": Part(),
            "runtime": RuntimeConfig(cache_dir=tmp_path / "cache"),
            "output": tmp_path,
        }
        return ExtractExecutor(encoder, **{**settings, **changes})

    outcome = do(extraction(), video)
    assert outcome.outputs == {"name.safetensors": (tmp_path / "name.safetensors").stat().st_size}
    changed = [
        extraction(),
        extraction(seed=1),
        extraction(sampling=SamplingConfig(fps=Fraction(1))),
        extraction(part=Part(start="1")),
    ]
    assert len({executor.facts.key for executor in changed}) == 4
    assert changed[0].facts.key == extraction(output=tmp_path / "x").facts.key
