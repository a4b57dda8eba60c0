"""Contenders over many short videos compute the same features."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import clips
from benchmarks.ours import OurFolder
from benchmarks.ours_clips import OurClips
from benchmarks.peers.clip_scripts import ClipScript
from benchmarks.peers.features import RandomWeights
from benchmarks.videos import camera_clips


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("clips")
    return [str(path) for path in camera_clips(folder, 5, 2, 128, 96)]


def test_all_contenders_write_the_features_of_each_clip(videos: list[str], tmp_path: Path) -> None:
    weights, model = str(tmp_path / "weights.pt"), str(tmp_path / "model")
    RandomWeights().write("test_vit", weights)
    OurFolder().write("test_vit", weights, "8", model)
    shared = {"backbone": "test_vit", "rate": "8", "compiled": False}
    found = {}
    for manner in ("user", "expert"):
        folder = tmp_path / manner
        script = ClipScript(
            reader="pyav", manner=manner, weights=weights, output=str(folder), **shared
        )
        script.compiled = manner == "expert"  # pads as a compiled one, without minutes of compiling
        assert script.extract_all(videos) == 16 * len(videos)
        assert script.decode_all(videos) == 16 * len(videos)
        found[manner] = clips.features_in(folder)
    for together in (True, False):
        folder = tmp_path / f"ours-{together}"
        ours = OurClips(together=together, weights=model, output=str(folder), **shared)
        assert ours.extract_all(videos) == len(videos)
        found[folder.name] = clips.features_in(folder)
    for name, one in found["ours-True"].items():
        np.testing.assert_array_equal(one, found["ours-False"][name])
        for manner in ("user", "expert"):
            other = found[manner][name]
            assert one.shape == other.shape == (16, 64)
            norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
            assert ((one * other).sum(axis=1) / norms).min() > 0.98
    assert len(found["ours-True"]) == len(videos)


@pytest.mark.slow
def test_the_whole_benchmark(tmp_path: Path) -> None:
    clips.main(
        [
            *("--clips", "3", "--seconds", "1", "--backbone", "test_vit", "--runs", "1"),
            *("--no-compile", "--peers", "pyav,absent", "--manners", "user"),
            *("--directory", str(tmp_path / "videos"), "--save", str(tmp_path)),
        ]
    )
    (saved,) = tmp_path.glob("clips_*.json")
    data = json.loads(saved.read_text())
    (table,) = data["tables"]
    rows = {row[0]: row for row in table["rows"]}
    ours, theirs = rows[clips.OURS], rows["pyav + timm, user"]
    assert ours[2] == theirs[2] == 6 and rows[clips.OURS_ALONE][2] == 6
    assert ours[3] > 0 and theirs[9] > 0.98
    assert rows[clips.COMMAND][3] > ours[3]
    assert "cannot run here" in rows["absent + timm, user"][1]
    assert [target["bound"] for target in data["targets"]] == [10]
