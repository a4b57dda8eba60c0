"""The table of the recipes that a training run compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.tables import print_table
from vtnstream.wording import plural


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
            _percent(row["accuracy"], row["accuracy_interval"]),
            _percent(row["mean_class_accuracy"], row["mean_class_interval"]),
            f"{row['seconds']:.0f}",
            row["about"],
        ]
        for row in search["table"]
    ]
    rows.append(["majority", f"{search['majority']:.1f}", f"{search['chance']:.1f}", "", ""])
    rows.append(["chance", f"{search['chance']:.1f}", f"{search['chance']:.1f}", "", ""])
    columns = ["recipe", "accuracy %", "mean of classes %", "seconds", ""]
    print_table(console, columns, rows, right=columns[3:4])
    folds = f"{plural(search['folds'], 'fold')}, 95 % intervals over them"
    console.say(f"each video is predicted by models not trained on it ({folds})")
    others = [row["recipe"] for row in search["table"][1:] if row["within_noise"]]
    if others:
        console.say(f"{search['recipe']} is not clearly better than {', '.join(others)} (noise)")
    console.out("")


def _percent(mean: float, interval: Sequence[float]) -> str:
    low, high = interval
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{mean:.1f}"
    return f"{mean:.1f} ± {(high - low) / 2:.1f}"
