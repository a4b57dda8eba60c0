"""Several small videos at the same time in one process: the results of one after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from shutil import copyfile

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from vtnstream.batch.workers.executor import Executor, attempt
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
from vtnstream.models.backbone import create_backbone
from vtnstream.models.create import create_model
from vtnstream.models.io.checkpoint import save_model
from vtnstream.progress import NullProgress
from vtnstream.video.write import write_video

PREPROCESS = PreprocessConfig(size=64, resize=64, mean=(0.5,) * 3, std=(0.5,) * 3)
BACKBONE = BackboneConfig("test_vit", {"img_size": 64})
SAMPLING = SamplingConfig(fps=Fraction(5))
COUNT = 6


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Clips of 1 to 2.25 s, one of them twice, and one that is no video."""
    folder = tmp_path_factory.mktemp("clips")

    def frames(seed: int) -> Iterator[np.ndarray]:
        random = np.random.default_rng(seed)
        for _ in range(20 + 5 * seed):
            yield random.integers(0, 255, (64, 64, 3), np.uint8)

    paths = [folder / f"{number}.mp4" for number in range(COUNT)]
    for number, path in enumerate(paths):
        write_video(path, frames(number), Fraction(20))
    copyfile(paths[0], folder / "again.mp4")
    (folder / "broken.mp4").write_bytes(b"text" * 1000)
    return [str(path) for path in (*paths, folder / "again.mp4", folder / "broken.mp4")]


def outcomes(executor: Executor, clips: list[str], threads: int) -> dict[str, Outcome]:
    tasks = [Task(clip, Path(clip).stem) for clip in clips]
    with ThreadPoolExecutor(threads) as pool:
        done = pool.map(lambda task: attempt(executor, task, NullProgress()), tasks)
    return {Path(outcome.path).stem: outcome for outcome in done}


def extraction(output: Path) -> ExtractExecutor:
    torch.manual_seed(0)
    encoder = FrameEncoder(create_backbone(BACKBONE), BACKBONE, PREPROCESS, dtype="float32")
    runtime = RuntimeConfig(cache_dir=output / "cache")
    output.mkdir()
    return ExtractExecutor(encoder, SAMPLING, part=Part(), runtime=runtime, output=output)


def test_features_and_times_are_those_of_one_after_the_other(
    clips: list[str], tmp_path: Path
) -> None:
    done = {
        threads: outcomes(extraction(tmp_path / str(threads)), clips, threads) for threads in (1, 4)
    }
    for name, outcome in done[1].items():
        beside = done[4][name]
        assert (outcome.status, outcome.error) == (beside.status, beside.error), name
        assert outcome.status == ("failed" if name == "broken" else "done")
        if outcome.status == "failed":
            continue
        one, other = (load_file(tmp_path / n / f"{name}.safetensors") for n in ("1", "4"))
        for array in one:
            np.testing.assert_array_equal(one[array], other[array], err_msg=f"{name} {array}")


def test_reports_are_those_of_one_after_the_other(clips: list[str], tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = ModelConfig(
        sampling=SAMPLING,
        preprocess=PREPROCESS,
        backbone=BACKBONE,
        temporal=TemporalConfig(num_layers=1, num_heads=4, attention_window=(8,)),
        head=HeadConfig(labels=("calm", "wild")),
    )
    model = str(save_model(create_model(config), tmp_path / "model"))
    for threads in (1, 4):
        executor = AnalysisExecutor(
            model,
            {},
            TimelineConfig(window=4),
            formats=("json",),
            every=False,
            top_k=None,
            runtime=RuntimeConfig(cache_dir=tmp_path / f"cache-{threads}", dtype="float32"),
            output=tmp_path / str(threads),
        )
        assert sum(o.status == "done" for o in outcomes(executor, clips, threads).values()) == 7
    for clip in clips[:-1]:
        one, other = (
            json.loads((tmp_path / threads / f"{Path(clip).stem}.json").read_text())
            for threads in ("1", "4")
        )
        for run in (one.pop("run"), other.pop("run")):  # seconds, and the folder of the store
            assert run["tokens"] > 4
        assert one == other and one["segments"]


def test_a_batch_is_answered_from_the_store(clips: list[str], tmp_path: Path) -> None:
    """The key and the results of a worker that loads no model are those of one that does."""
    torch.manual_seed(0)
    config = ModelConfig(
        sampling=SAMPLING,
        preprocess=PREPROCESS,
        backbone=BACKBONE,
        temporal=TemporalConfig(num_layers=1, num_heads=4, attention_window=(8,)),
        head=HeadConfig(labels=("calm", "wild")),
    )
    model = str(save_model(create_model(config), tmp_path / "model"))
    found, keys = [], set()
    for number in range(2):
        executor = AnalysisExecutor(
            model,
            {},
            TimelineConfig(window=4),
            formats=("json",),
            every=False,
            top_k=None,
            runtime=RuntimeConfig(cache_dir=tmp_path / "cache", dtype="float32"),
            output=tmp_path / str(number),
        )
        keys.add(executor.facts)
        done = outcomes(executor, clips[:3], 3)
        assert {outcome.status for outcome in done.values()} == {"done"}
        reports = [json.loads((tmp_path / str(number) / f"{n}.json").read_text()) for n in done]
        runs = [report.pop("run") for report in reports]
        assert all(run.get("scores_from_store", False) is bool(number) for run in runs)
        found.append(reports)
    assert len(keys) == 1 and found[0] == found[1]
    late = outcomes(executor, clips[3:5], 2)  # what is not stored is computed
    assert {outcome.status for outcome in late.values()} == {"done"}
