"""Learning from few videos beside peers, on made-up features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import few
from benchmarks.few_sets import read_set
from benchmarks.peers.action_former import learn_action_former, segments_of
from benchmarks.peers.sequence_models import learn_network


def made(seed: int, length: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Features (T, 6) whose first numbers say the class of stretches of ten tokens."""
    rng = np.random.default_rng(seed)
    targets = np.repeat(rng.permutation(length // 10) % 2, 10)
    values = rng.normal(size=(length, 6)) * 0.3
    values[:, 0] += 2.0 * targets
    return values.astype(np.float32), targets.astype(np.int64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = ["path,start,end,label"]
    for number in range(6):
        values, targets = made(number)
        np.save(tmp_path / f"{number}.npy", values)
        for first, stop, name in segments_of(targets):
            lines.append(f"{number}.npy,{first / 2},{stop / 2},{'ab'[name]}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path


def test_a_folder_without_folds_is_parted_by_video(folder: Path) -> None:
    one = read_set(f"{folder}@2", None)
    assert one.labels == ("a", "b") and len(one.samples) == 6
    assert sorted(n for fold in one.folds for n in fold) == list(range(6))
    assert len(one.folds) == 5


def test_contenders_are_scored_on_videos_they_did_not_see(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few.main(["--data", f"{folder}@2", "--contenders", "probe,linear probe", "--seeds", "1"])
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if "probe" in line]
    assert len(rows) == 4  # of the set, and of the mean over the sets
    assert "F1@50" in printed
    one = read_set(f"{folder}@2", None)
    scores = few.score(one, few.cross_answer(one, "linear probe", 0, None))
    assert min(scores[:2]) > 90


@pytest.mark.parametrize("name", ["MS-TCN", "ASFormer", "ActionFormer"])
def test_peers_learn(name: str) -> None:
    train, (values, targets) = [made(n) for n in range(4)], made(9)
    if name == "ActionFormer":
        answer = learn_action_former(train, 2, 0, epochs=25)(values)
    else:
        answer = learn_network(name, train, 2, 0, epochs=15)(values)
    assert answer.shape == (40,)
    assert (answer == targets).mean() > 0.85
