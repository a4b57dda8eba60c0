"""The GPU benchmark: skipped with a message if there is no GPU; its code runs on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import cuda, machine
from benchmarks.gpu import Matrix


def test_without_a_gpu_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "gpus", list)
    cuda.main(["--save", str(tmp_path)])
    assert "skipped: no CUDA device here" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_the_ceiling_is_measured_and_frames_are_counted() -> None:
    assert 0 < Matrix().teraflops("cpu", 64, 1) < 1000
    assert Matrix().products("vit_base_patch16_224") == pytest.approx(17.56e9, rel=1e-3)


@pytest.mark.slow
def test_the_whole_benchmark_on_a_cpu(tmp_path: Path) -> None:
    cuda.main(
        [
            *("--device", "cpu", "--side", "128", "--backbones", "test_vit", "--frames", "40"),
            *("--hour-backbone", "test_vit", "--part", "2", "--times", "3", "--runs", "1"),
            *("--directory", str(tmp_path), "--save", str(tmp_path)),
        ]
    )
    (saved,) = tmp_path.glob("cuda_*.json")
    data = json.loads(saved.read_text())
    backbones, decoders, hour = data["tables"]
    assert backbones["rows"][0][2] > 0 and backbones["rows"][0][4] > 0
    names = [row[0] for row in decoders["rows"]]
    assert "vtnstream, NVDEC: cannot run here" in names[0]
    assert names[1:3] == ["vtnstream, software", "pyav expert"] and len(names) == 5
    assert [(row[0], row[3]) for row in hour["rows"]] == [("first", 12), ("warm 1", 12)]
    assert all(row[5].endswith(", software") for row in hour["rows"])
    assert data["targets"][-1]["measured"] == hour["rows"][1][1]
