"""Several processes and lower precision, through accelerate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.test_resume import RECIPE, Cut, settings
from tests.training.test_run import write_film
from vtnstream.config import RuntimeConfig
from vtnstream.errors import TrainingError
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
"""What is drawn at random differs between processes."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    classes, segments = ["path,label"], ["path,start,end,label"]
    for number in range(11):
        name = ("blue", "red")[number % 3 == 0]
        write_film(folder / f"{number}.mp4", [(name, 3 + number % 3)], number)
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
        {"annotations": "segments.csv", "optim.steadiness": 0.15},
        {"mode": "end-to-end", "feature_norm": "none", "augment.rand_augment": [1, 5],
         "backbone.name": "test_vit", "backbone.arguments": {"img_size": 32}},
    ],
    ids=["classes", "segments", "end-to-end"],
)  # fmt: skip
def test_two_processes_are_one_with_the_same_batch(
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


@pytest.mark.parametrize("mode", [pytest.param("frozen", marks=pytest.mark.slow), "end-to-end"])
def test_bfloat16_learns_the_same_thing_roughly(folder: Path, tmp_path: Path, mode: str) -> None:
    runtime = RuntimeConfig(device="cpu", cache_dir=folder / "store")
    losses = {}
    for precision in ("float32", "bfloat16"):
        more = {"precision": precision, "mode": mode, "feature_norm": "none"}
        asked = settings(folder, tmp_path / precision, **more)
        asked = replace(asked, optim=replace(asked.optim, epochs=2))
        losses[precision] = [record.loss for record in train(asked, runtime=runtime).records]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.1)
    assert losses["bfloat16"] != losses["float32"]


def test_another_number_of_processes_does_not_go_on(folder: Path, tmp_path: Path) -> None:
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
