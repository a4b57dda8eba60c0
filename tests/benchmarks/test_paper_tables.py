"""The numbers of the papers, counted from the models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import common, paper_tables
from vtnstream.models.complexity import count_vtn_products


def test_every_row_is_within_its_bound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paper_tables.main(["--save", str(tmp_path)])
    shown = capsys.readouterr().out
    (saved,) = tmp_path.glob("paper_tables_*.json")
    data = json.loads(saved.read_text())
    assert [target["reached"] for target in data["targets"]] == [True, True]
    parameters, vivit_parameters, *products, vivit_products = data["tables"]
    rows = {row[0]: row for row in parameters["rows"]}
    assert {name: rows[name][2] for name in paper_tables.PARAMETERS} == paper_tables.PARAMETERS
    assert all(abs(rows[name][4]) <= 0.5 for name in paper_tables.PARAMETERS)
    for column, table in enumerate(products):
        rows = {row[0]: row for row in table["rows"]}
        for name, numbers in paper_tables.GFLOPS.items():
            assert rows[name][2] == numbers[column]
            assert abs(rows[name][3] / numbers[column] - 1) <= 0.01
        assert all(row[5] > row[3] for row in table["rows"])  # attention is in the full count
    for row in vivit_parameters["rows"]:
        assert row[2] == paper_tables.VIVIT[row[0]][0] and abs(row[3] - row[2]) <= 0.5
    for row in vivit_products["rows"]:
        assert row[2] == paper_tables.VIVIT[row[0]][1] and abs(row[4] / row[2] - 1) <= 0.01
        assert row[4] > row[3]  # attention is in the full count
    assert len(vivit_parameters["rows"]) == len(vivit_products["rows"]) == 4
    assert "4,214" in shown and saved.with_suffix(".md").read_text() in shown


def test_depths_cost_what_their_layers_cost() -> None:
    """Rows of Table 2a: only the number of layers differs."""
    models = {n: paper_tables.variant(name) for n, name in paper_tables.DEPTHS.items()}
    assert {n: model.config.temporal.num_layers for n, model in models.items()} == {
        n: n for n in paper_tables.DEPTHS
    }
    cost = {n: count_vtn_products(model, 250).weights for n, model in models.items()}
    layer = (cost[12] - cost[1]) / 11
    assert all(cost[n] - cost[1] == pytest.approx((n - 1) * layer) for n in cost)


def test_a_row_outside_its_bound_is_marked() -> None:
    result = common.Result("paper_tables", machine={}, date="today")
    models = {"vtn-r50": paper_tables.variant("vtn-vit-b")}  # not what the name says
    assert paper_tables.add_parameters(result, models) > 50
    assert paper_tables.add_products(result, models, "", 250, 1, 0) > 100
