"""A batch on Ray: real clusters of this machine, each started and ended by the command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.patience import HANG

pytest.importorskip("ray", reason="the extra ray is not installed")

INSTEAD = """
import sys
import vtnstream.cli.options.batch
from tests.batch import fake_executors

if "--instead" in sys.argv:
    sys.argv.remove("--instead")
    vtnstream.cli.options.batch.make_analysis_executor = fake_executors.executor_of_command
from vtnstream.cli.main import run
sys.argv[0] = "vtnstream"
run()
"""
"""Runs the command with the executor of the tests, if requested."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


def start(*arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", INSTEAD, "batch", "timeline", *map(str, arguments)]
    return subprocess.Popen(command, **options)


def status() -> dict[str, dict[str, Any]]:
    lines = Path("out/status.jsonl").read_text().splitlines()
    return {Path(line["path"]).stem: line for line in map(json.loads, lines)}


def actors(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return the actors that work, by the name that Ray gives its processes."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if child.cmdline()[:1] and child.cmdline()[0].startswith("ray::VideoActor."):
                found.append(child)
        except psutil.Error:
            continue
    return found


def test_dead_actors_cost_an_attempt_up_to_the_limit() -> None:
    names = ["a", "killed-once", "abort", "fail", "sleep", "b"]
    for name in names:
        Path(f"{name}.mp4").write_bytes(b"film")
    arguments = ["--instead", ".", "-m", "any", "-o", "out", "-q", "--ray", "local"]
    arguments += ["--workers", "2", "--threads", "1", "--timeout", "6"]
    process = start(*arguments, stderr=subprocess.PIPE)
    _, err = process.communicate(timeout=HANG)
    assert process.returncode == 1, err
    done = status()
    assert {name: done[name]["code"] for name in names} == {
        "a": "ok",
        "b": "ok",
        "killed-once": "ok",
        "abort": "crash",
        "fail": "decode",
        "sleep": "timeout",
    }
    assert {name: done[name]["attempts"] for name in ("a", "killed-once", "abort")} == {
        "a": 1,
        "killed-once": 2,
        "abort": 2,
    }
    tries = Counter(line.split()[1] for line in Path("out/diary").read_text().splitlines())
    assert tries == {"a": 1, "b": 1, "killed-once": 2, "abort": 2, "fail": 1, "sleep": 1}
    assert len(err.splitlines()) == 3 and b"Traceback" not in err, err


@pytest.mark.slow
def test_a_cluster_gives_the_results_of_one_process(model_and_video: tuple[Path, Path]) -> None:
    """One actor is killed during the run; a rerun computes nothing."""
    model, video = model_and_video
    for name in ("one", "two"):
        shutil.copy(video, f"{name}.mp4")
        with open(f"{name}.mp4", "ab") as file:
            file.write(name.encode())
    arguments = [".", "-m", model, "-q", "--threads", "1"]
    assert start(*arguments, "-o", "local", "--no-cache").wait(timeout=300) == 0
    ray = [*arguments, "-o", "out", "--ray", "local", "--workers", "2", "--range-seconds", "60"]
    process = start(*ray)
    deadline = time.monotonic() + HANG
    while not (found := actors(process)) or not list(Path("out").rglob("0*.safetensors")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    found[0].kill()
    assert process.wait(timeout=300) == 0
    assert {line["status"] for line in status().values()} == {"done"}
    for name in ("one", "two"):
        local, ours = (
            json.loads(Path(folder, f"{name}.mp4.json").read_text()) for folder in ("local", "out")
        )
        assert {k: v for k, v in ours.items() if k != "run"} == {
            k: v for k, v in local.items() if k != "run"
        }
    stamps = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*") if path.is_file()}
    again = start(*ray, "--jsonl", stdout=subprocess.PIPE)
    out, _ = again.communicate(timeout=300)
    assert again.returncode == 0
    assert [json.loads(line)["skipped"] for line in out.splitlines()] == [True, True]
    assert stamps == {p: p.stat().st_mtime_ns for p in Path("out").rglob("*") if p.is_file()}


@pytest.fixture
def model_and_video(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    from fractions import Fraction

    import numpy as np
    import torch

    from vtnstream.config import (
        BackboneConfig,
        HeadConfig,
        ModelConfig,
        PreprocessConfig,
        SamplingConfig,
        TemporalConfig,
    )
    from vtnstream.models.create import create_model
    from vtnstream.models.io.checkpoint import save_model
    from vtnstream.video.write import write_video

    torch.manual_seed(0)
    config = ModelConfig(
        sampling=SamplingConfig(fps=Fraction(2)),
        preprocess=PreprocessConfig(size=64, resize=64, mean=(0.5,) * 3, std=(0.5,) * 3),
        backbone=BackboneConfig("test_vit", {"img_size": 64}),
        temporal=TemporalConfig(num_layers=1, num_heads=4, attention_window=(8,)),
        head=HeadConfig(labels=("calm", "wild")),
    )
    folder = tmp_path_factory.mktemp("made")
    random = np.random.default_rng(0)
    frames = (
        np.kron(random.integers(0, 255, (8, 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
        for _ in range(4 * 400)
    )
    write_video(folder / "film.mp4", frames, Fraction(4))
    return save_model(create_model(config), folder / "model"), folder / "film.mp4"
