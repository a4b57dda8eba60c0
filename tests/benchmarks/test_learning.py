"""The long-context tasks, and that a VTN learns them where local models do not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import learning
from benchmarks.learning import fight, long_context, videos
from benchmarks.learning.models import Recipe
from vtnstream.synthesis.cue_videos import CUES


def table(tmp_path: Path, *arguments: str) -> tuple[dict[str, list[float]], list[dict[str, Any]]]:
    """Contender -> its metrics, and the targets."""
    learning.main([*arguments, "--save", str(tmp_path)])
    data = json.loads(next(tmp_path.glob("learning_*.json")).read_text())
    return {row[0]: row[1:-1] for row in data["tables"][0]["rows"]}, data["targets"]


def bars(video: videos.LabelledVideo) -> list[str]:
    """Return the colours of the bars, read from the frames."""
    top = video.frames[:, : videos.SIZE // 3].astype(int)
    strength = top.mean((1, 2)) - top.mean((1, 2, 3))[:, None]  # (T, 3)
    shown = [CUES[row.argmax()] for row in strength if row.max() > 100]
    return [colour for n, colour in enumerate(shown) if n == 0 or colour != shown[n - 1]]


def test_the_class_of_order_is_the_order_of_the_bars() -> None:
    drawn = [videos.order((7, 0, n), 60) for n in range(30)]
    for video in drawn:
        assert video.frames.shape == (60, videos.SIZE, videos.SIZE, 3)
        assert "-".join(bars(video)) == videos.ORDERS[video.label or 0]
    assert len({video.label for video in drawn}) == 6
    again = videos.order((7, 0, 3), 60)
    np.testing.assert_array_equal(again.frames, drawn[3].frames)


def test_without_the_cue_phases_do_not_determine_labels() -> None:
    """Frames and labels are independent, so a probe of single frames is at chance."""
    drawn = [videos.phases((7, 0, n), 60) for n in range(200)]
    counts = np.zeros((3, 3))
    for video in drawn:
        assert video.targets is not None and (video.targets[:6] < 0).all()
        cue = bars(video)
        assert len(cue) == 1
        for label in video.targets[video.targets >= 0]:
            counts[CUES.index(cue[0]), label] += 1
    shares = counts / counts.sum(1, keepdims=True)
    assert np.abs(shares - 1 / 3).max() < 0.08


@pytest.mark.parametrize("name", ["phases", "order"])
def test_every_contender_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_context, "LONGER", 2)
    task = replace(long_context.TASKS[name], counts=(6, 2, 2), recipe=Recipe(1, 2, 4))
    monkeypatch.setitem(long_context.TASKS, name, task)
    rows, targets = table(tmp_path, name, "--seeds", "1")
    assert set(rows) == set(task.contenders)
    assert all(0 <= value <= 100 for row in rows.values() for value in row)
    assert len(targets) == 2 * len(task.columns)


def test_clips_fold_by_fold(tmp_path: Path) -> None:
    """Dark and bright clips: every contender runs, and the probe classifies all correctly."""
    from safetensors.torch import save_file

    from vtnstream.config import BackboneConfig
    from vtnstream.models.backbone import create_backbone
    from vtnstream.video.write import write_video

    random = np.random.default_rng(0)
    lines = ["path,label,fold"]
    for number in range(8):
        level = 40 + 140 * (number % 2)
        frames = (random.integers(0, 60, (32, 32, 3)) + level for _ in range(4))
        write_video(tmp_path / f"{number}.mp4", (f.astype(np.uint8) for f in frames), 4)
        lines.append(f"{number}.mp4,{'bright' if number % 2 else 'dark'},{number // 4}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    weights = tmp_path / "w.safetensors"
    save_file(create_backbone(BackboneConfig("test_resnet")).state_dict(), weights)
    brief = ("--seeds", "1", "--epochs", "2", "--epochs-end-to-end", "1", "--size", "32")
    backbone = ("--backbone", "test_resnet", "--weights", str(weights))
    rows, targets = table(tmp_path / "saved", "fight", str(tmp_path), *backbone, *brief)
    assert set(rows) == set(fight.CONTENDERS)
    assert rows[fight.PROBE][0] == 100
    assert targets[0]["bound"] == fight.AIM


def test_unknown_names_are_refused() -> None:
    with pytest.raises(SystemExit, match="phase"):
        learning.main(["phase"])


@pytest.mark.slow
def test_a_vtn_uses_the_cue_for_the_whole_video(tmp_path: Path) -> None:
    rows, targets = table(tmp_path, "phases", "--seeds", "1")
    assert all(target["reached"] for target in targets), targets
    assert all(row[0] < 45 and row[2] < 45 for name, row in rows.items() if name != "VTN")


@pytest.mark.slow
def test_a_causal_vtn_learns_the_order_of_events(tmp_path: Path) -> None:
    only = ("--only", "VTN, causal", "--only", "mean of all frames")
    rows, targets = table(tmp_path, "order", "--seeds", "1", *only)
    assert all(target["reached"] for target in targets), targets
    assert rows["mean of all frames"][0] < 40
