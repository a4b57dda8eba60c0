"""The measurements behind the default kind of position."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import positions
from vtnstream.config import TemporalConfig

DEFAULT = TemporalConfig().positions


def table(tmp_path: Path, *arguments: str) -> dict[str, dict[str, list[float]]]:
    """task -> kind -> percent right: trained length, ten times longer, shuffled."""
    positions.main([*arguments, "--save", str(tmp_path)])
    data = json.loads(next(tmp_path.glob("positions_*.json")).read_text())
    return {
        made["title"].partition(":")[0]: {row[0]: row[1:] for row in made["rows"]}
        for made in data["tables"]
    }


def test_the_tasks_match_their_description() -> None:
    random = np.random.default_rng(1)
    features, targets = positions.near(random, 5, 30)
    assert features.shape == (5, 30, positions.SIZE) and (targets[:, :3] == -100).all()
    directions = np.random.default_rng(0).standard_normal((positions.SYMBOLS, positions.SIZE))
    shown = (features @ directions.T - (directions**2).sum(1) / 2).argmax(-1)
    np.testing.assert_array_equal(targets[:, 3:], shown[:, :-3])
    features, targets = positions.far(random, 200, 40)
    shown = (features @ directions.T - (directions**2).sum(1) / 2).argmax(-1)
    assert (np.argmax(shown == 1, 1) < np.argmax(shown == 2, 1)).tolist() == (targets == 0).tolist()
    assert 60 < targets.sum() < 140


def test_every_kind_runs(tmp_path: Path) -> None:
    found = table(tmp_path, "--steps", "2", "--seeds", "1", "--tests", "2", "--length", "16")
    assert set(found) == {"near", "far"}
    for rows in found.values():
        assert set(rows) == set(positions.KINDS)
        assert all(0 <= value <= 100 for row in rows.values() for value in row)


def test_the_default_works_at_ten_times_the_length() -> None:
    """Order among near tokens, learned on 32 tokens, is known on 320, and not after shuffling."""
    options = positions.parse(["--length", "32", "--steps", "150", "--tests", "5"])
    kind = next(name for name, (kind, _) in positions.KINDS.items() if kind == DEFAULT)
    short, long, mixed = positions.measure(positions.TASKS[0], kind, 0, options)
    assert short > 95 and long > 95
    assert mixed < 50


@pytest.mark.slow
def test_no_kind_extrapolates_better(tmp_path: Path) -> None:
    near = table(tmp_path, "--seeds", "1", "--steps", "300", "--tests", "10", "--only", "near")[
        "near"
    ]
    short, long, mixed = near["rotary"]
    assert short > 95 and long > short - 2
    assert mixed < 100 / positions.SYMBOLS + 10
    assert all(row[1] <= long + 1 for row in near.values())
    assert near["none"][1] < 60
