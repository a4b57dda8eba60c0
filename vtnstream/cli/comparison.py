"""The table of the recipes that a training run compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.tables import print_table
from vtnstream.wording import plural

_MANY_FOLDS = 5
"""Folds from which Student's quantile (2.8) no longer makes most of an interval's width."""


def print_comparison(console: Console, search: Mapping[str, Any]) -> None:
    """Print the recipes, best first, with chance and majority, and name differences within noise.

    Args:
        console: prints the table.
        search: the search in ``train.json``; empty prints nothing.
    """
    if not search:
        return
    rows = [
        [
            row["recipe"],
            percent(row["accuracy"], row["accuracy_interval"]),
            percent(row["mean_class_accuracy"], row["mean_class_interval"]),
            f"{row['seconds']:.0f}",
            row["about"],
        ]
        for row in search["table"]
    ]
    rows.append(["majority", f"{search['majority']:.1f}", f"{search['chance']:.1f}", "", ""])
    rows.append(["chance", f"{search['chance']:.1f}", f"{search['chance']:.1f}", "", ""])
    columns = ["recipe", "accuracy %", "mean of classes %", "seconds", ""]
    print_table(console, columns, rows, right=columns[3:4])
    folds = f"mean of {plural(search['folds'], 'fold')}, 95 % intervals over them"
    few = ", which are wide for so few" if search["folds"] < _MANY_FOLDS else ""
    console.say(f"each video is predicted by models not trained on it ({folds}{few})")
    from vtnstream.training.selection.recipes import BLEND

    best, *rest = search["table"]
    if best["recipe"] == BLEND:
        same = [row["recipe"] for row in rest if row["folds"] == best["folds"]]
        if same:
            console.say(f"{BLEND} scores as {same[0]} does: its other networks changed no score")
    others = [row["recipe"] for row in search["table"][1:] if row["within_noise"]]
    if others:
        console.say(f"{search['recipe']} is not clearly better than {', '.join(others)} (noise)")
    console.out("")


def percent(mean: float, interval: Sequence[float]) -> str:
    """Return a percentage with its interval, of which only what lies in 0 to 100 is possible."""
    low, high = interval
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{mean:.1f}"
    return f"{mean:.1f} ({max(low, 0):.0f} to {min(high, 100):.0f})"
