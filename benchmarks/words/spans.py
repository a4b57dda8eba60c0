"""Spans asked of another encoding of their own video, and of unrelated videos."""

from __future__ import annotations

import argparse
import itertools
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from benchmarks import common
from benchmarks.words.spaces import runtime_of, space_of
from vtnstream.config.search import SearchConfig
from vtnstream.errors import VtnstreamError
from vtnstream.localization.peaks import Evidence, find_segments
from vtnstream.search.reading import read_video
from vtnstream.types import Features, FloatArray
from vtnstream.words.scoring import score_examples
from vtnstream.words.vectors import LabelVectors, unit

_FEWEST = 4
"""Frames of a video that unrelated spans are asked of."""

_CLOSE = 4.0
"""Seconds from the middle of the true span within which a peak counts as right."""


@dataclass(frozen=True)
class Truth:
    """Which videos show the same.

    Attributes:
        folders: patterns of the videos, below the data folder.
        groups: patterns of names; videos of one group are not unrelated.
        pairs: a video, another encoding of it, and the start and end of each span.
    """

    folders: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    pairs: tuple[tuple[str, str, float, float], ...]

    @classmethod
    def read(cls, path: Path) -> Truth:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        pairs: list[tuple[str, str, float, float]] = []
        for pair in data["same"]:
            spans = [tuple(map(float, span)) for span in pair.get("spans", [])]
            if "every" in pair:
                first, stop, step, length = pair["every"]
                spans += [(float(t), float(t) + length) for t in np.arange(first, stop, step)]
            pairs += [(pair["example"], pair["video"], a, b) for a, b in spans]
        return cls(tuple(data["videos"]), tuple(map(tuple, data["groups"])), tuple(pairs))

    def group(self, name: str) -> str:
        """The name of a video's group: its own where it belongs to none."""
        for number, patterns in enumerate(self.groups):
            if any(fnmatch(name, pattern) for pattern in patterns):
                return f"group {number}"
        return name


def spans(options: argparse.Namespace, result: common.Result, truth: Truth) -> None:
    """How many spans are found in another encoding, and how many in unrelated videos."""
    videos = _features(options, truth)
    config = SearchConfig()
    found = right = 0
    for example, video, start, end in truth.pairs:
        (one,) = _scored(videos[video], [_mean(videos[example], start, end)], end - start)
        found += bool(find_segments(one, "span", config))
        peak = int(one.smoothed(config.smoothing_seconds).presence.argmax())
        at = float(videos[video].times.start_seconds[peak])
        right += abs(at - (start + end) / 2) < _CLOSE
    asked = answered = 0
    middles = {name: _middle(features) for name, features in videos.items()}
    for name, features in videos.items():
        if len(features.times) < _FEWEST:
            continue
        group = truth.group(name)
        others = [middles[other] for other in videos if truth.group(other) != group]
        asked += len(others)
        scored = _scored(features, others, 3.2)
        answered += sum(bool(find_segments(one, "span", config)) for one in scored)
    table = result.table("Spans of videos as examples", "what", "asked", "answered %")
    count = len(truth.pairs)
    table.add("in another encoding of their video", count, 100 * found / count)
    table.add("in unrelated videos", asked, 100 * answered / asked)
    result.notes.append(f"{right} of {count} spans have their highest match at their own place.")


def _features(options: argparse.Namespace, truth: Truth) -> dict[str, Features]:
    space, runtime = space_of(options), runtime_of(options)
    paths = itertools.chain(*(sorted(options.data.glob(pattern)) for pattern in truth.folders))
    found: dict[str, Features] = {}
    for path in paths:
        common.say(path.name)
        try:
            with read_video(path, space, runtime) as source:
                blocks = [space.project(block) for block in source.features.blocks(4096)]
                found[path.name] = Features(np.concatenate(blocks), source.features.times)
        except VtnstreamError as error:
            common.say(str(error))
    return found


def _scored(features: Features, rows: list[FloatArray], seconds: float) -> tuple[Evidence, ...]:
    labels = [
        LabelVectors(str(number), None, row[None], np.array([seconds]))
        for number, row in enumerate(rows)
    ]
    return score_examples(features, labels).evidence


def _mean(features: Features, start: float, end: float) -> FloatArray:
    starts = features.times.start_seconds
    rows = unit(features.values[(starts >= start) & (starts < end)])
    mean: FloatArray = unit(rows.mean(axis=0, keepdims=True))[0]
    return mean


def _middle(features: Features) -> FloatArray:
    """The mean of the 3.2 s in the middle of a video."""
    middle = float(features.times.start_seconds[-1]) / 2
    return _mean(features, middle - 1.6, middle + 1.6)
