"""Clip networks are those of the paper and see thirty different views; a short run is marked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import paper
from benchmarks.children import Failure, Median
from benchmarks.common import Result

pytest.importorskip("pytorchvideo")
from benchmarks.peers.clips import ClipPeer, Complexity


def test_slowfast_multiplies_what_the_paper_says() -> None:
    counted = Complexity().count("slowfast")
    assert counted["gflops"] == pytest.approx(paper.PAPER["slowfast"][1], rel=0.001)
    assert Complexity().count("i3d")["parameters"] == pytest.approx(28, abs=0.1)
    nonlocal_ = Complexity().count("nl_i3d")
    assert nonlocal_["full"] > nonlocal_["gflops"]


def test_thirty_views_are_ten_clips_of_three_crops() -> None:
    peer = ClipPeer("i3d")
    frames = torch.arange(250, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 256, 340)
    firsts = [int(peer._clip(frames, number)[0, 0, 0, 0]) for number in range(10)]
    assert firsts[0] == 0 and firsts[-1] == 250 - 64 and len(set(firsts)) == 10
    assert peer._clip(frames[:20], 9).shape[0] == 8  # shorter than a clip
    ramp = torch.arange(340).expand(8, 3, 256, -1).clamp(max=255).to(torch.uint8)
    crops = [peer._crop(ramp, number) for number in range(3)]
    assert crops[0].shape == (1, 3, 8, 256, 256)
    lefts = [round(float(crop[0, 0, 0, 0, 0] * 0.225 + 0.45) * 255) for crop in crops]
    assert lefts == [0, 42, 84]


@pytest.mark.slow
def test_the_whole_benchmark(tmp_path: Path) -> None:
    paper.main(
        [
            *("--preset", "vtn-deit-ti", "--networks", "i3d", "--views", "1"),
            *("--directory", str(tmp_path), "--save", str(tmp_path)),
        ]
    )
    (saved,) = tmp_path.glob("paper_*.json")
    data = json.loads(saved.read_text())
    times, counts = data["tables"]
    rows = {row[0]: row for row in times["rows"]}
    ours, theirs = rows["VTN, full video, float32"], rows["I3D-R50 8x8, 30 views, float32"]
    assert ours[1] > 0 and theirs[1] > 30 * 0.05
    assert theirs[3] == pytest.approx(theirs[1] / ours[1])
    assert "1 of 30 views were run; their time is multiplied" in times["note"]
    assert counts["rows"][0][1] == pytest.approx(28, abs=0.1)
    assert [target["reached"] for target in data["targets"]] == [None, None]
    assert "SlowFast was not run" in data["targets"][0]["why"]


def run(wall: float, decode: float | None = None) -> Median:
    value = None if decode is None else {"decode": decode, "views": wall - decode}
    return Median(wall, wall, 0, [value])


def test_targets_and_multiplied_views() -> None:
    result = Result("paper", machine={}, date="today")
    slowfast = paper.NAMES["slowfast"]
    found = {
        "VTN, full video, float32": run(40.0),
        f"{slowfast}, float32": run(13.0, decode=1.0),
        "VTN, full video, bfloat16": run(10.0),
        f"{slowfast}, bfloat16": run(9.0, decode=1.0),
        f"{paper.NAMES['i3d']}, bfloat16": Failure("not installed"),
    }
    paper.add_times(result, found, views=3)
    rows = {row[0]: row for row in result.tables[0].rows}
    assert rows[f"{slowfast}, float32"][1:4] == (121.0, 1.0, 121 / 40)
    assert [target.measured for target in result.targets] == [121 / 10, 81 / 10]
    assert any("cannot run here: not installed" in name for name in rows)
