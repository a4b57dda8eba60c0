"""The compared encoders run, and those with vtnstream's weights agree."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from benchmarks import temporal
from benchmarks.children import Failure, Median
from benchmarks.common import Result

SMALL: dict[str, Any] = {"hidden_size": 24, "layers": 2, "heads": 4, "window": 8}


@pytest.mark.parametrize("count", [1, 7, 8, 100])
def test_transformers_with_our_weights_gives_our_logits(count: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from benchmarks.sequences import Longformer, Ours

        ours, theirs = Ours(**SMALL).run(count), Longformer(**SMALL).run(count)
    assert ours == pytest.approx(theirs, abs=1e-5) and max(map(abs, ours)) > 1e-3


def test_full_attention_sees_every_token() -> None:
    from benchmarks.sequences import FullAttention

    encoder = FullAttention(**SMALL)
    short, longer = encoder.run(20), encoder.run(21)
    assert len(short) == 400 and short != pytest.approx(longer, abs=1e-6)


def test_sequences_give_blocks_in_order() -> None:
    from benchmarks.sequences import ROWS, Sequence

    sequence = Sequence(ROWS + 5, 3)
    blocks = list(sequence.blocks(1000))
    assert [len(block) for block in blocks] == [1000] * 4 + [101]
    assert (blocks[-1][-5:] == blocks[0][:5]).all(), "the table starts over"


@pytest.mark.parametrize("bf16", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_whole_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bf16: bool) -> None:
    monkeypatch.setattr(temporal.machine, "has_bf16", lambda *units: bf16)  # two more processes
    temporal.main(
        [
            *("--sizes", "60", "--windows", "32", "--tokens", "50", "--runs", "2"),
            *("--hidden-size", "24", "--layers", "2", "--heads", "4", "--save", str(tmp_path)),
        ]
    )
    (saved,) = tmp_path.glob("temporal_*.json")
    data = json.loads(saved.read_text())
    curve, fits, hour = data["tables"]
    assert [row[0] for row in curve["rows"]] == [60] * 3
    assert {row[1] for row in curve["rows"]} == {temporal.OURS, *temporal.PEERS.values()}
    assert all(row[2] > 0 for row in curve["rows"])
    assert all(row[5] < 1e-5 for row in curve["rows"] if "Longformer" in row[1])
    assert fits["rows"] == []
    assert len(hour["rows"]) == (4 if bf16 else 2) and all(row[1] > 0 for row in hour["rows"])
    targets = {target["what"]: target for target in data["targets"]}
    assert targets["vtnstream: exponent of time"]["reached"] is None
    assert targets["w = 32: times faster than transformers', float32"]["measured"] > 0


def test_exponent_is_the_slope_of_the_long_ones() -> None:
    points = [(1000, 5.0), (10_000, 1.0), (100_000, 10.0**1.5), (1_000_000, 1000.0)]
    first, last, slope = temporal.exponent(points) or (0, 0, 0)
    assert (first, last) == (10_000, 1_000_000) and slope == pytest.approx(1.5)
    assert temporal.exponent(points[:2]) is None


def test_a_peer_stops_at_its_limit_and_vtnstream_continues(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, list[str]]] = []

    def measure(contenders: dict[str, Any], count: int, runs: int) -> dict[str, Any]:
        asked.append((count, list(contenders)))
        found: dict[str, Any] = {
            name: Median(count / 1e4, 1.0, 2**20, [[0.5]]) for name in contenders
        }
        if count >= 20_000 and "full attention" in found:
            found["full attention"] = Failure("beyond 60 s")
        return found

    monkeypatch.setattr(temporal, "measure", measure)
    result = Result("temporal", machine={}, date="today")
    temporal.add_curve(result, {"hidden_size": 8, "window": 32}, [10_000, 20_000, 40_000], 3)
    assert [len(names) for _, names in asked] == [3, 3, 2]
    ends = [row for row in result.tables[0].rows if row[2] is None]
    assert [(row[0], row[1]) for row in ends] == [(20_000, "full attention ends here: beyond 60 s")]
    assert result.targets[0].measured == pytest.approx(1.0)
