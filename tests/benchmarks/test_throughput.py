"""Every contender reads a video, and all compute the same features."""

from __future__ import annotations

import argparse
import importlib
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import machine, throughput
from benchmarks.children import Child, Failure, Measurement, Median
from benchmarks.common import Result
from benchmarks.peers.features import FeaturePeer, RandomWeights
from benchmarks.peers.readers import BATCH, READERS
from benchmarks.videos import camera_video

RATE = Fraction(8)
LIBRARIES = {"opencv": "cv2", "torchcodec": "torchcodec.decoders", "pyav": "av"}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return camera_video(tmp_path_factory.mktemp("films"), 5, 320, 180)


@pytest.mark.parametrize("manner", ["user", "expert"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_readers_keep_the_same_frames(video: Path, library: str, manner: str) -> None:
    pytest.importorskip(LIBRARIES[library], exc_type=(ImportError, RuntimeError))

    def pictures(library: str, manner: str) -> np.ndarray:
        batches = list(READERS[library, manner](str(video), RATE))
        assert [len(batch) for batch in batches] == [BATCH, 8]
        if manner == "user" and library != "torchcodec":
            return np.stack([np.asarray(p).transpose(2, 0, 1) for b in batches for p in b])
        return np.concatenate([batch.numpy() for batch in batches])

    found, reference = pictures(library, manner), pictures("pyav", "user")
    assert found.shape == reference.shape
    difference = np.abs(found.astype(int) - reference).mean(axis=(1, 2, 3))
    assert difference.max() < 4  # colour conversion differs, frames do not
    others = np.abs(np.roll(reference, 1, axis=0).astype(int) - reference).mean(axis=(1, 2, 3))
    assert others[1:].min() > difference.max()


def test_an_expert_compiles_and_pads_the_last_batch(video: Path, tmp_path: Path) -> None:
    """The features do not depend on the method."""
    RandomWeights().write("test_vit", str(tmp_path / "weights.pt"))
    found = {}
    for manner in ("user", "expert"):
        output = tmp_path / f"{manner}.npy"
        peer = FeaturePeer(
            *("pyav", manner, "test_vit", str(tmp_path / "weights.pt"), "8", str(output)),
            compiled=False,
        )
        peer.compiled = manner == "expert"  # pads as a compiled one, without minutes of compiling
        assert peer.extract(str(video)) == 40
        assert peer.decode(str(video)) == 40 and peer.backbone(33) == 33
        found[manner] = np.load(output)
    assert found["user"].shape == (40, 64)
    cosine = (found["user"] * found["expert"]).sum(1) / np.prod(
        [np.linalg.norm(values, axis=1) for values in found.values()], axis=0
    )
    assert cosine.min() > 0.98


class Here:
    """A contender in this process, for calls whose time and memory do not matter."""

    def __init__(self, contender: str) -> None:
        module, _, name = contender.partition(":")
        self.made = getattr(importlib.import_module(module), name)()

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def call(self, method: str, **arguments: Any) -> Measurement:
        return Measurement(0, 0, 0, 0, getattr(self.made, method)(**arguments))


def child(contender: str, *settings: Any) -> Child | Here:
    """Start a process for what is measured; what only writes files runs here."""
    writes = contender.endswith((":RandomWeights", ":OurFolder"))
    return Here(contender) if writes else Child(contender, *settings)


@pytest.mark.parametrize("bf16", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_whole_benchmark(
    video: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    bf16: bool,
) -> None:
    monkeypatch.setattr(throughput.machine, "has_bf16", lambda *units: bf16)  # one more process
    if not bf16:
        monkeypatch.setattr(throughput, "Child", child)
    throughput.main(
        [
            *("--video", str(video), "--backbones", "test_vit", "--runs", "1", "--no-compile"),
            *("--peers", "pyav,absent", "--manners", "user", "--save", str(tmp_path)),
        ]
    )
    (saved,) = tmp_path.glob("throughput_*.json")
    data = json.loads(saved.read_text())
    table, stages = data["tables"]
    rows = {row[0]: row for row in table["rows"]}
    ours, theirs = rows["vtnstream"], rows["pyav + timm, user"]
    assert ours[2] == theirs[2] == 10
    assert ours[3] > 0 and ours[6] > ours[3] and ours[7] < theirs[7]
    assert theirs[8] > 0, "cold memory"
    assert theirs[9] > 0.98, "the same features"
    assert theirs[10] == pytest.approx(theirs[3] / ours[3])
    assert "cannot run here" in rows["absent + timm, user"][1]
    asked = {"vtnstream", "pyav + timm, user"}
    extra = {throughput.OURS_FLOAT32} if bf16 else set()
    assert {row[0] for row in stages["rows"]} == asked | extra
    assert all(row[1] > 0 and row[2] > 0 for row in stages["rows"])
    assert [target["bound"] for target in data["targets"]] == [0.5, 0.85]
    assert "share of the limit" in capsys.readouterr().out


@pytest.mark.slow
def test_an_unknown_backbone_does_not_stop_the_others(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match="no_such_vit"):
        throughput.main(
            [
                *("--video", str(video), "--backbones", "no_such_vit,test_vit", "--runs", "1"),
                *("--no-compile", "--peers", "pyav", "--manners", "user", "--limit", "0.01"),
                *("--save", str(tmp_path)),
            ]
        )
    (saved,) = tmp_path.glob("throughput_*.json")
    rows = {row[0]: row for row in json.loads(saved.read_text())["tables"][0]["rows"]}
    assert rows["vtnstream"][2] == 10
    assert "beyond 0.01 s" in rows["pyav + timm, user"][1]


def runs(
    wall: float, cpu: float = 1.0, peak: int = 10, computes: str = "bfloat16"
) -> throughput.Runs:
    one = Median(wall, cpu, 0, [], peak)
    features = np.eye(32, dtype=np.float32)
    return throughput.Runs(computes, 9.0, one, one, one, 2 * peak, features)


def test_targets_compare_with_the_fastest() -> None:
    result = Result("throughput", machine={}, date="today")
    found = {
        "vtnstream": runs(1.0, cpu=0.5, peak=20),
        "a + timm, user": runs(4.0, peak=50),
        "b + timm, user": runs(3.0, peak=40),
        "c + timm, expert": runs(2.0),
        "d + timm, expert": Failure("not installed"),
    }
    throughput.report(result, "deit_tiny_patch16_224", found, baseline=10)
    faster, than_expert, memory, share = (target.measured for target in result.targets)
    assert (faster, than_expert, memory) == (3.0, 2.0, pytest.approx(1 / 3))
    assert share == pytest.approx((0.5 + 0.5) / (1.0 * machine.cores()))
    there = Result("throughput", {"device": "cuda"}, machine={}, date="today")
    throughput.report(there, "deit_tiny_patch16_224", found, baseline=10)
    assert there.targets[-1].measured is None and "GPU" in there.targets[-1].verdict


def test_an_expert_without_bf16_units_has_no_bf16_target() -> None:
    result = Result("throughput", machine={}, date="today")
    found = {
        "vtnstream": runs(1.0, computes="float32, eager:cpu"),
        "a + timm, expert": runs(2.0, computes="float32"),
    }
    throughput.report(result, "vit_base_patch16_224", found, baseline=0)
    target = result.targets[0]
    assert target.reached is None and "as run in float32 2.00" in target.verdict


def test_a_failure_of_vtnstream_fails_the_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    result = Result("throughput")
    throughput.report(result, "resnet50", {"vtnstream": Failure("it broke")}, baseline=0)
    with pytest.raises(SystemExit, match="vtnstream: it broke"):
        result.deliver(argparse.Namespace(save=None))
    assert "cannot run here: it broke" in capsys.readouterr().out
