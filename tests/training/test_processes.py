"""Several processes and lower precision, through accelerate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.training.test_resume import RECIPE, Cut, metrics, settings
from tests.training.test_run import write_scenes
from vtnstream.config import RuntimeConfig
from vtnstream.errors import TrainingError
from vtnstream.training.resume import read_unfinished
from vtnstream.training.run import train
from vtnstream.training.settings import train_config

SAME = {
    "temporal.dropout": 0.0,
    "temporal.attention_dropout": 0.0,
    "head.dropout": 0.0,
    "optim.mixup": 0.0,
    "optim.batch_size": 3,
    "optim.epochs": 5,
    "optim.class_weights": "root",
    "data.validation": 0.3,
}
"""Settings without randomness, which differs between processes."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    classes, segments = ["path,label"], ["path,start,end,label"]
    for number in range(11):
        name = ("blue", "red")[number % 3 == 0]
        write_scenes(folder / f"{number}.mp4", [(name, 3 + number % 3)], number)
        classes.append(f"{number}.mp4,{name}")
        segments.append(f"{number}.mp4,1,2.5,{name}")
    (folder / "classes.csv").write_text("\n".join(classes))
    (folder / "segments.csv").write_text("\n".join(segments))
    (folder / "recipe.toml").write_text(RECIPE.format(output="several"))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"annotations": "segments.csv", "optim.temporal_smoothing": 0.15},
        {"mode": "end-to-end", "feature_norm": "none", "augment.rand_augment": [1, 5],
         "backbone.name": "test_vit", "backbone.arguments": {"img_size": 32}},
    ],
    ids=["classes", "segments", "end-to-end"],
)  # fmt: skip
def test_two_processes_equal_one_with_the_same_batch(
    folder: Path, tmp_path: Path, more: dict[str, object]
) -> None:
    if "annotations" in more:
        more = {**more, "annotations": str(folder / "segments.csv")}
    changes = {**SAME, **more}
    config = train_config(folder / "recipe.toml", {**changes, "output": str(tmp_path / "one")})
    train(config, runtime=RuntimeConfig(device="cpu", cache_dir=tmp_path / "store"))
    pairs = [
        f"--set={key}={json.dumps(value) if not isinstance(value, dict) else '{img_size = 32}'}"
        for key, value in changes.items()
    ]
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
        *("-m", "vtnstream", "train", str(folder / "recipe.toml"), "-o", str(tmp_path / "two")),
        *("--device", "cpu", *pairs),
    ]
    environment = {**os.environ, "VTNSTREAM_CACHE_DIR": str(tmp_path / "store")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("best epoch") == 1, "the first process alone speaks"
    one, two = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert len(one) == len(two) == 5
    for a, b in zip(one, two, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=2e-4)
        assert b["steps"] == a["steps"]
        assert b["validation"] == pytest.approx(a["validation"], rel=1e-3, abs=1e-4)


@pytest.mark.slow
def test_two_killed_processes_resume(folder: Path, tmp_path: Path) -> None:
    """With dropout, each process restores its own random state."""
    store = {**os.environ, "VTNSTREAM_CACHE_DIR": str(tmp_path / "store")}

    def start(output: str, pause: float) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
                *("--nproc-per-node=2", "-m", "vtnstream", "train", str(folder / "recipe.toml")),
                *("-o", str(tmp_path / output), "--device", "cpu", "--set=optim.batch_size=3"),
                f"--set=checkpoint.seconds={pause}",
            ],
            env=store,
            text=True,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )

    whole = start("whole", 60)
    assert whole.wait(400) == 0, whole.communicate()[1][-3000:]
    whole.communicate()
    cut = start("cut", 0)
    while True:
        left = read_unfinished(tmp_path / "cut")
        if left is not None and left.state["epoch"] > 2 and left.state["batch"]:
            break
        assert cut.poll() is None, cut.communicate()[1][-3000:]
        time.sleep(0.003)
    everyone = [psutil.Process(cut.pid), *psutil.Process(cut.pid).children(recursive=True)]
    for process in everyone:
        process.kill()
    psutil.wait_procs(everyone, 30)
    cut.communicate()
    assert read_unfinished(tmp_path / "cut") is not None
    again = start("cut", 0)
    assert again.wait(400) == 0, again.communicate()[1][-3000:]
    assert "continues after step" in again.communicate()[1]
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["frozen", "end-to-end"])
def test_bfloat16_gives_similar_losses(folder: Path, tmp_path: Path, mode: str) -> None:
    runtime = RuntimeConfig(device="cpu", cache_dir=folder / "store")
    losses = {}
    for precision in ("float32", "bfloat16"):
        more = {"precision": precision, "mode": mode, "feature_norm": "none"}
        asked = settings(folder, tmp_path / precision, **more)
        asked = replace(asked, optim=replace(asked.optim, epochs=2))
        losses[precision] = [record.loss for record in train(asked, runtime=runtime).records]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.1)
    assert losses["bfloat16"] != losses["float32"]


def test_another_number_of_processes_cannot_resume(folder: Path, tmp_path: Path) -> None:
    import torch

    runtime = RuntimeConfig(device="cpu", cache_dir=folder / "store")
    asked = settings(folder, tmp_path / "m")
    with pytest.raises(KeyboardInterrupt):
        train(asked, runtime=runtime, progress=Cut(3))
    path = tmp_path / "m" / "unfinished.pt"
    left = torch.load(path, weights_only=True)
    left["state"]["random"] *= 2
    torch.save(left, path)
    with pytest.raises(TrainingError, match="ran in 2 processes"):
        train(asked, runtime=runtime)
