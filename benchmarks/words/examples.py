"""Retrieval by example among short clips, beside the plain cosine of mean features."""

from __future__ import annotations

import argparse
import csv

import numpy as np

from benchmarks import common
from benchmarks.words.scores import retrieval_precision
from benchmarks.words.spaces import runtime_of, space_of
from vtnstream.search.reading import read_video
from vtnstream.types import FloatArray
from vtnstream.words.scoring import score_examples
from vtnstream.words.vectors import LabelVectors, unit, unit_blocks


def examples(options: argparse.Namespace, result: common.Result) -> None:
    """Search with each clip for the others: those of its label (without its scene), and of its
    scene."""
    folder = options.clips.parent
    with options.clips.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if options.most:
        rows = rows[: options.most]
    space, runtime = space_of(options), runtime_of(options)
    means = []
    for row in rows:
        with read_video(folder / row["path"], space, runtime) as source:
            blocks = [block.sum(axis=0) for block in unit_blocks(source.features, space.project)]
        total = np.sum(np.stack(blocks), axis=0, keepdims=True)
        means.append(unit(np.asarray(total, np.float32))[0])
    vectors = np.stack(means)
    labels = [LabelVectors(str(place), None, row[None]) for place, row in enumerate(vectors)]
    matches = np.empty((len(rows), len(rows)), np.float32)
    for place, row in enumerate(rows):
        common.say(row["path"])
        with read_video(folder / row["path"], space, runtime) as source:
            found = score_examples(source.features, labels, space.project)
        matches[:, place] = [one.presence.max() for one in found]
    names = np.array([row["label"] for row in rows])
    scenes = np.array([row.get("scene", str(n)) for n, row in enumerate(rows)])
    table = result.table(
        "Retrieval by example, mean average precision in %",
        "what is related", "queries", "vtnstream", "plain cosine of means", "chance",
    )  # fmt: skip
    other = scenes[:, None] != scenes[None]
    asked = names[:, None] == names[None]
    self_ = np.eye(len(rows), dtype=bool)
    for what, related, offered in (
        ("same label, another scene", asked, other),
        ("same scene", ~other, ~self_),
    ):
        ours = _mean(matches, related, offered)
        plain = _mean(np.asarray(vectors @ vectors.T, np.float32), related, offered)
        chance = float(np.mean([related[q][offered[q]].mean() for q in range(len(rows))]))
        table.add(what, ours[1], 100 * ours[0], 100 * plain[0], 100 * chance)


def _mean(scores: FloatArray, related: np.ndarray, offered: np.ndarray) -> tuple[float, int]:
    found = [
        retrieval_precision(scores[q][offered[q]], related[q][offered[q]])
        for q in range(len(scores))
    ]
    kept = [value for value in found if value == value]
    return (float(np.mean(kept)) if kept else float("nan")), len(kept)
