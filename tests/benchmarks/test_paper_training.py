"""Both networks run real steps, and the ratio follows from the measurements."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import paper_training
from benchmarks.children import Failure, Median
from benchmarks.common import Result

pytest.importorskip("pytorchvideo")
from benchmarks.steps import OurStep, PeerStep

TINY = {
    "backbone.name": "test_vit",
    "backbone.arguments": {"img_size": 32},
    "temporal.num_heads": 4,
    "temporal.intermediate_size": 32,
}


@pytest.mark.slow
def test_ours_takes_the_step_of_the_recipe() -> None:
    ours = OurStep("vtn-vit-b-1l", 4, 32, 2, "cpu", "float32", TINY)
    before = ours.trainer.model.backbone.pos_embed.detach().clone()
    assert ours.step() > 0
    assert ours.trainer.steps == 1
    assert not bool((ours.trainer.model.backbone.pos_embed == before).all())
    assert type(ours.trainer.optimizer).__name__ == "SGD"


@pytest.mark.slow
def test_the_whole_benchmark_at_tiny_size(tmp_path: Path) -> None:
    paper_training.main(
        [
            *("--frames", "2", "--slowfast-frames", "8", "--size", "32", "--clips", "2"),
            *("--runs", "1", "--set", json.dumps(TINY), "--save", str(tmp_path)),
        ]
    )
    (saved,) = tmp_path.glob("paper_training_*.json")
    times, ratios = json.loads(saved.read_text())["tables"]
    ours, theirs = times["rows"]
    assert ours[1] > 0 and theirs[1] > 0
    assert theirs[3] == pytest.approx(196 * theirs[1])
    assert ratios["rows"][1][1] == pytest.approx(theirs[3] / ours[3])
    peer = PeerStep("slowfast", 32, 2, "cpu", "float32", 8)
    before = next(peer.network.parameters()).detach().clone()
    peer.step()
    assert not bool((next(peer.network.parameters()) == before).all())


def test_the_ratio_is_the_papers_on_its_figures() -> None:
    result = Result("paper_training", machine={}, date="today")
    minutes = paper_training.MINUTES
    found = {name: Median(0, 0, 0, [float(minutes[name])]) for name in minutes}
    paper_training.add_times(result, found)
    assert result.targets[0].measured == pytest.approx(16.1, abs=0.03)
    failed = Result("paper_training", machine={}, date="today")
    found = {paper_training.OURS: Median(0, 0, 0, [1.0])}
    paper_training.add_times(failed, {**found, paper_training.THEIRS: Failure("not installed")})
    assert failed.targets[0].measured is None
    assert "not installed" in failed.tables[0].rows[1][0]
