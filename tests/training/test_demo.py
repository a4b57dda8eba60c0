"""The demo runs on a few short videos, and in full size as a slow test."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vtnstream.models.io.checkpoint import load_model
from vtnstream.synthesis.cue_videos import LABELS, CueVideoConfig
from vtnstream.training.demo import DemoConfig, run_demo


def test_all_parts_run_and_the_models_differ_in_global_attention(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    video = CueVideoConfig(seconds=18, min_phase=3, max_phase=6)
    config = DemoConfig(num_train=8, num_unseen=3, epochs=1, video=video, workers=1)
    result = run_demo(tmp_path / "demo", seed=1, config=config)
    assert torch.get_num_threads() == threads
    assert result.video == tmp_path / "demo" / "videos" / "video_0008.mp4"
    assert result.annotations.is_file()
    assert result.truth[0].start == 6.0 and result.truth[-1].end == 18.0
    assert result.labels == LABELS
    assert result.num_steps == 1
    for made in (result.vtn, result.without_global_attention):
        assert 0 <= made.accuracy <= 100
        assert made.report.segments is not None
    whole = load_model(result.vtn.folder).config
    local = load_model(result.without_global_attention.folder).config
    assert whole.temporal.global_attention and not local.temporal.global_attention
    assert whole.head == local.head and whole.backbone == local.backbone


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_only_the_model_with_global_attention_learns_the_task(tmp_path: Path, seed: int) -> None:
    result = run_demo(tmp_path, seed=seed)
    assert result.vtn.accuracy >= 95
    assert result.without_global_attention.accuracy <= 45
