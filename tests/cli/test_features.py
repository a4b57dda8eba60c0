"""``extract``, ``plan`` and ``cache`` on a real video."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from benchmarks import commands
from tests.cli.conftest import Outcome

Run = Callable[..., Outcome]
BACKBONE = ("--backbone", "test_vit", "--backbone-arg", "img_size=64")


def arrays(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    with safe_open(path, framework="np") as file:
        metadata = json.loads(file.metadata()["vtnstream"])
        return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118


def test_extract_writes_the_documented_arrays(run: Run, video: Path) -> None:
    outcome = run("extract", video, *BACKBONE, "--fps", "1", "-o", "f.safetensors")
    assert outcome.code == 0, outcome.err
    assert "random weights" in outcome.err
    assert outcome.out.startswith("f.safetensors: 40 tokens x 64 features")
    found, metadata = arrays("f.safetensors")
    assert found["features"].shape == (40, 64) and found["features"].dtype == np.float32
    assert found["start_seconds"].dtype == np.float64 and found["pts"].dtype == np.int64
    np.testing.assert_allclose(found["start_seconds"], np.arange(40))
    assert metadata["backbone_arguments"] == {"img_size": 64}


def test_random_weights_are_the_same_every_time(run: Run, video: Path) -> None:
    for name in ("a", "b"):
        run(
            "extract",
            video,
            *BACKBONE,
            "--num-frames",
            "4",
            "--no-cache",
            "-o",
            f"{name}.safetensors",
        )
    a, b = arrays("a.safetensors")[0]["features"], arrays("b.safetensors")[0]["features"]
    np.testing.assert_array_equal(a, b)


def test_weights_and_preprocessing_reach_the_backbone(run: Run, video: Path) -> None:
    import timm
    import torch

    torch.manual_seed(7)
    module = timm.create_model("test_vit", num_classes=0, img_size=64)
    save_file(module.state_dict(), "w.safetensors")
    own = ("--mean", ".4,.5,.6", "--std", ".25", "--size", "64", "--interpolation", "bilinear")
    outcome = run(
        *("extract", video, *BACKBONE, "--weights", "w.safetensors", *own),
        *("--num-frames", "4", "-o", "f.safetensors", "--json"),
    )
    assert outcome.code == 0, outcome.err
    assert "random" not in outcome.err
    assert json.loads(outcome.out)["tokens"] == 4
    _, metadata = arrays("f.safetensors")
    preprocess = metadata["preprocess"]
    assert preprocess["mean"] == [0.4, 0.5, 0.6] and preprocess["std"] == [0.25] * 3
    assert preprocess["size"] == 64 and preprocess["interpolation"] == "bilinear"


def test_several_inputs_go_to_a_directory(run: Run, video: Path, broken: Path) -> None:
    Path("d").mkdir()
    for name in ("a.mp4", "A.mp4"):
        os.link(video, Path("d") / name)
    Path("e").mkdir()
    os.link(video, "e/a.mp4")
    outcome = run("extract", "d", "e", broken, *BACKBONE, "--num-frames", "2", "-o", "out")
    assert outcome.code == 1
    assert len(os.listdir("out")) == 3
    assert len(outcome.out.splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["-o", "f.safetensors"], "--backbone"),
        (["--backbone", "test_vit"], "-o FILE"),
        (["--backbone", "test_vit", "--mean", "1,2", "-o", "f.safetensors"], "--mean"),
        (["--backbone", "test_vitt", "-o", "f.safetensors"], "did you mean 'test_vit"),
        (["--backbone", "test_vit", "--backbone-arg", "x", "-o", "f.safetensors"], "key=value"),
        (["--backbone", "test_vit", "--weights", "absent", "-o", "f.safetensors"], "absent"),
        (["--backbone", "test_vit", "--weights", "w", "--pretrained", "-o", "f"], "exclude"),
        (["--model", "absent", "-o", "f.safetensors"], "absent"),
        (["--model", "m", "--size", "64", "-o", "f.safetensors"], "--size needs --backbone"),
    ],
)
def test_extract_usage_errors(run: Run, video: Path, arguments: list[str], word: str) -> None:
    outcome = run("extract", video, *arguments)
    assert outcome.code == 2, outcome.err
    assert len(outcome.errors) == 1 and word in outcome.errors[0]


def test_flag_for_a_backbone_goes_over_a_model_of_the_environment(
    run: Run, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTNSTREAM_MODEL", "absent")
    outcome = run("extract", video, *BACKBONE, "--num-frames", "2", "-o", "f.safetensors")
    assert outcome.code == 0, outcome.err


def test_the_suffix_decides_the_format(run: Run, video: Path) -> None:
    for name in ("f.safetensors", "new/f.npy", "f.npz"):
        assert run("extract", video, *BACKBONE, "--num-frames", "4", "-o", name).code == 0
    expected, _ = arrays("f.safetensors")
    alone = np.load("new/f.npy", allow_pickle=False)
    assert alone.shape == (4, 64) and alone.dtype == np.float32
    np.testing.assert_array_equal(alone, expected["features"])
    with np.load("f.npz", allow_pickle=False) as found:
        assert sorted(found) == ["end_seconds", "features", "start_seconds"]
        for key, array in found.items():
            np.testing.assert_array_equal(array, expected[key])

    outcome = run("timeline", video, "--features", "new/f.npy", "-m", "edits")
    assert outcome.code != 0 and "vtnstream extract VIDEO -o FILE.safe" in outcome.errors[0]
    for name in ("f.h5", "f"):
        outcome = run("extract", video, *BACKBONE, "-o", name)
        assert outcome.errors == [
            f"vtnstream: error: {name}: features are written to .safetensors, .npy or .npz files: "
            "choose one of these"
        ]


@pytest.mark.slow
def test_a_plan_states_the_peak_of_the_process(video: Path, home: Path) -> None:
    backbone = ("--backbone", "deit_tiny_patch16_224", "--backend", "eager")
    planned = commands.run([*commands.VTNSTREAM, "plan", video, *backbone, "--json"])
    stated = json.loads(planned.output)["process_bytes"]
    run = [*commands.VTNSTREAM, "extract", video, *backbone, "-o", home / "features.safetensors"]
    assert stated == pytest.approx(commands.run(run).peak, rel=0.15)


def test_plan_agrees_with_the_run(run: Run, video: Path, model_folder: Path) -> None:
    planned = json.loads(run("plan", video, "-m", model_folder, "--json").out)
    assert planned["tokens"] == 80 and planned["frames"] == 400
    assert planned["stored_tokens"] == 0 and planned["seconds"] > 0
    run("classify", video, "-m", model_folder, "-q")
    planned = json.loads(run("plan", video, "-m", model_folder, "--json").out)
    assert planned["stored_tokens"] == 80 and planned["seconds"] == 0
    outcome = run("plan", video, *BACKBONE, "--fps", "5", "--end", "10")
    assert outcome.code == 0 and "50" in outcome.out and str(video) in outcome.out


def test_cache_lists_and_prunes(run: Run, video: Path, model_folder: Path) -> None:
    run("classify", video, "-m", model_folder, "-q")
    run("classify", video, "-m", model_folder, "--fps", "1", "-q")
    entries = json.loads(run("cache", "list", "--json").out)
    assert [entry["video"] for entry in entries] == [str(video)] * 2
    assert str(video) in run("cache", "list").out
    assert run("cache", "prune", "--limit", "1G").out.startswith("removed 0 ")
    pruned = json.loads(run("cache", "prune", "--all", "--json").out)
    assert len(pruned["removed"]) == 2 and pruned["freed_bytes"] > 0
    assert json.loads(run("cache", "list", "--json").out) == []
