"""Retrieval by example, beside the plain cosine of mean features: clips, and halves of spans."""

from __future__ import annotations

import argparse
import csv
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import common
from benchmarks.words.scores import retrieval_precision
from benchmarks.words.spaces import runtime_of, space_of
from vtnstream.errors import VtnstreamError
from vtnstream.search.reading import read_video
from vtnstream.types import Features, FloatArray, TokenTimes
from vtnstream.words.scoring import score_examples
from vtnstream.words.vectors import LabelVectors, unit

_FEWEST = 4
"""Frames of a span that is halved."""

_MARGIN = 0.1, 0.4
"""Seconds that are left out after and before a cut."""

Read = Callable[[Path], Features]


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip or span, what it shows, and the scene it is from.

    Attributes:
        features: its frames, in the space that is searched.
        label: clips of one label are related.
        scene: related clips of one scene are not asked for; "" if all are.
    """

    features: Features
    label: str
    scene: str = ""

    @property
    def seconds(self) -> float:
        times = self.features.times
        return float(times.end_seconds[-1] - times.start_seconds[0])


def clips(options: argparse.Namespace, result: common.Result) -> None:
    """Each clip asks for the others: those of its label (never of its scene), of its scene."""
    read = _reader(options)
    table = _table(result)
    for what, items in _labelled(options.clips, read, options.most):
        _add(table, what, items)


def sets(options: argparse.Namespace, result: common.Result) -> None:
    """All sets of a data folder that hold what is related by their kind alone."""
    read, data = _reader(options), options.data
    table, means = _table(result), []
    for what, items in _labelled(data / "surveillance_fight" / "labels.csv", read, options.most):
        means.append(_add(table, what, items))
    signs = sorted((data / "clips" / "asl_gestures").glob("*"))
    takes = sorted((data / "footage" / "takes").glob("*"))
    means.append(_add(table, "halves of a sign among signs", _halved(signs, read, 2)))
    means.append(_add(table, "halves of a take among takes", _halved(takes, read, 8)))
    means.append(_add(table, "halves of a shot among shots", _shots(data / "footage", read)))
    ours, plain = np.mean(np.array(means), axis=0)
    table.add("mean of the sets", None, float(ours), float(plain), None)


def _table(result: common.Result) -> common.Table:
    return result.table(
        "Retrieval by example, mean average precision in %",
        "what is related", "queries", "vtnstream", "plain cosine of means", "chance",
    )  # fmt: skip


def _reader(options: argparse.Namespace) -> Read:
    """Read a video's features, projected and in memory."""
    space, runtime = space_of(options), runtime_of(options)

    def read(path: Path) -> Features:
        common.say(path.name)
        with read_video(path, space, runtime) as source:
            blocks = [space.project(block) for block in source.features.blocks(4096)]
            return Features(np.concatenate(blocks), source.features.times)

    return read


def _labelled(path: Path, read: Read, most: int | None) -> Iterator[tuple[str, list[Clip]]]:
    """Clips of a CSV of path, label and scene: related by label in another scene, by scene."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:most]
    found = [(row, read(path.parent / row["path"])) for row in rows]
    scenes = [row.get("scene") or str(number) for number, row in enumerate(rows)]
    pairs = list(zip(found, scenes, strict=True))
    yield "same label, another scene", [Clip(f, row["label"], scene) for (row, f), scene in pairs]
    yield "same scene", [Clip(f, scene) for (_, f), scene in pairs]


def _halved(paths: Sequence[Path], read: Read, fewest: int) -> list[Clip]:
    """Both halves of each video."""
    items: list[Clip] = []
    for path in paths:
        try:
            features = read(path)
        except VtnstreamError as error:
            common.say(str(error))
            continue
        if len(features.times) >= fewest:
            items += _halves(features, 0, len(features.times), path.name)
    return items


def _shots(folder: Path, read: Read) -> list[Clip]:
    """Both halves of each shot of edited videos whose shots are known."""
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    items: list[Clip] = []
    for name, known in truth.items():
        features, rate = read(folder / name), known["fps"]
        frames = [0, *known["cuts"], *(f for pair in known["graduals"] for f in pair)]
        bounds = sorted(frame / rate for frame in [*frames, known["frames"]])
        starts = features.times.start_seconds
        for low, high in itertools.pairwise(bounds):
            inside = np.flatnonzero((starts >= low + _MARGIN[0]) & (starts < high - _MARGIN[1]))
            if len(inside) >= _FEWEST:
                items += _halves(features, inside[0], inside[-1] + 1, f"{name}@{low:g}")
    return items


def _halves(features: Features, first: int, stop: int, label: str) -> Iterator[Clip]:
    middle = (first + stop) // 2
    for part in (slice(first, middle), slice(middle, stop)):
        t = features.times
        times = TokenTimes(t.indices[part], t.pts[part], t.start_seconds[part], t.end_seconds[part])
        yield Clip(Features(features.values[part], times), label)


def _add(table: common.Table, what: str, items: Sequence[Clip]) -> tuple[float, float]:
    """One row of the table.

    Returns:
        Mean average precision in % of the library's similarity and of the plain cosine.
    """
    means = np.stack([unit(unit(c.features.values).mean(axis=0, keepdims=True))[0] for c in items])
    labels = [
        LabelVectors(str(place), None, row[None], np.array([clip.seconds]))
        for place, (row, clip) in enumerate(zip(means, items, strict=True))
    ]
    ours = np.stack([score_examples(clip.features, labels).similarity for clip in items], axis=1)
    plain = np.asarray(means @ means.T, np.float32)
    names, scenes = np.array([c.label for c in items]), np.array([c.scene for c in items])
    related = names[:, None] == names[None]
    offered = ~np.eye(len(items), dtype=bool)
    if scenes[0]:
        offered &= scenes[:, None] != scenes[None]
    queries = [q for q in range(len(items)) if related[q][offered[q]].any()]
    chance = float(np.mean([related[q][offered[q]].mean() for q in queries]))
    found = 100 * _mean(ours, related, offered), 100 * _mean(plain, related, offered)
    table.add(what, len(queries), *found, 100 * chance)
    return found


def _mean(scores: FloatArray, related: np.ndarray, offered: np.ndarray) -> float:
    found = [
        retrieval_precision(scores[q][offered[q]], related[q][offered[q]])
        for q in range(len(scores))
    ]
    return float(np.nanmean(found))
