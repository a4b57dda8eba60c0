"""The table of compared recipes, and what training says about the videos."""

from __future__ import annotations

from typing import Any

import pytest

from vtnstream.cli.comparison import percent, print_comparison
from vtnstream.cli.framework.console import Console


def row(recipe: str, folds: list[list[float]]) -> dict[str, Any]:
    return {
        "recipe": recipe,
        "about": "",
        "accuracy": 80.5,
        "accuracy_interval": [27.8, 133.2],
        "mean_class_accuracy": 56.9,
        "mean_class_interval": [-30.9, 144.7],
        "folds": folds,
        "within_noise": True,
        "seconds": 3.0,
    }


def test_an_interval_ends_where_percentages_do() -> None:
    assert percent(74.4, [21.1, 127.7]) == "74.4 (21 to 100)"
    assert percent(5.0, [-3.0, 13.0]) == "5.0 (0 to 13)"
    assert percent(74.4, [float("-inf"), float("inf")]) == "74.4"


@pytest.mark.parametrize("count", [2, 5])
def test_few_folds_and_a_blend_that_changes_nothing_are_named(
    capsys: pytest.CaptureFixture[str], count: int
) -> None:
    same, other = [[84.6, 63.8]] * count, [[70.0, 60.0]] * count
    table = [row("blend", same), row("ms-tcn", other), row("tcn", same)]
    search = {"recipe": "blend", "folds": count, "majority": 71.4, "chance": 25.0, "table": table}
    print_comparison(Console(), search)
    shown = capsys.readouterr()
    assert "80.5 (28 to 100)  56.9 (0 to 100)" in shown.out
    assert "blend scores as tcn does" in shown.err
    assert ("wide for so few" in shown.err) == (count == 2)
    print_comparison(Console(), {**search, "table": table[:2]})
    assert "scores as" not in capsys.readouterr().err
