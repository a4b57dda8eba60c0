"""A learning curve in the terminal: a table, and bars that show its shape."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtnstream.cli.comparison import percent
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.progress import make_progress
from vtnstream.cli.framework.tables import print_table
from vtnstream.datasets.annotations import AnnotatedVideo, Annotations
from vtnstream.errors import UsageError

if TYPE_CHECKING:
    from vtnstream.config import RuntimeConfig

_WIDTH = 30
"""Characters of the longest bar."""

_WITHOUT_EFFECT = ("order", "shuffle", "confusion", "window", "phases")


def print_learning_curve(
    console: Console,
    values: Mapping[str, Any],
    annotations: Annotations,
    videos: Sequence[AnnotatedVideo],
    runtime: RuntimeConfig,
) -> None:
    """Measure and print the learning curve that ``evaluate --learning-curve`` asks for.

    Raises:
        UsageError: no model, or an option that has no effect on a learning curve.
    """
    if values["model"] is None:
        raise UsageError("--learning-curve trains the recipe of a model: name it with --model")
    for name in _WITHOUT_EFFECT:
        if values[name]:
            raise UsageError(f"--{name} has no effect on a learning curve: leave it out")
    from vtnstream.training.learning_curve import learning_curve

    progress = make_progress(console)
    try:
        curve = learning_curve(
            values["model"], annotations, videos, runtime=runtime, progress=progress
        )
    finally:
        progress.close()
    document = curve.document()
    if values["json"]:
        about = {"schema": "vtnstream/learning-curve/1", "annotations": values["annotations"]}
        console.out(json.dumps(_finite({**about, **document}), indent=2))
        return
    rows = [
        [
            str(point["videos"]),
            percent(point["accuracy"], point["accuracy_interval"]),
            percent(point["mean_class_accuracy"], point["mean_class_interval"]),
            "\u2588" * round(_WIDTH * point["accuracy"] / 100),
        ]
        for point in document["points"]
    ]
    columns = ["videos", "accuracy %", "mean of classes %", ""]
    print_table(console, columns, rows, right=columns[:1])
    console.say(
        f"recipe {document['recipe']}, evaluated on videos held out in turn ({document['folds']} "
        "folds, 95 % intervals over them)"
    )
    console.out(document["verdict"])


def _finite(value: Any) -> Any:
    """Convert to JSON data in which numbers that are not finite are null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
