"""Search of a library: videos in the order of the search of single videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lancedb")

from tests.report.cases import VIDEO
from vtnstream.config.search import SearchConfig
from vtnstream.library.rows import LibraryAbout, VideoRow
from vtnstream.library.searching import search_library
from vtnstream.library.store import LibraryStore
from vtnstream.report.writers.structured import report_json
from vtnstream.search.vectors import QueryVectors
from vtnstream.types import Features, FloatArray, Report, TokenTimes
from vtnstream.words.scoring import score_examples
from vtnstream.words.vectors import FrameStatistics, LabelVectors, unit

SIZE = 16


def video(seed: int, shown: FloatArray, frames: slice, noise: float) -> Features:
    """Forty frames of four scenes, some of which show a vector with some noise."""
    random = np.random.default_rng(seed)
    scenes = np.repeat(random.normal(size=(4, SIZE)), 10, axis=0)
    values = unit(scenes.astype(np.float32))
    values[frames] = shown
    values = unit(values + noise * random.normal(size=values.shape).astype(np.float32))
    edges = np.arange(41, dtype=np.float64)
    numbers = np.arange(40, dtype=np.int64)
    return Features(values, TokenTimes(numbers, numbers.copy(), edges[:-1], edges[1:]))


def add(store: LibraryStore, path: str, features: Features) -> None:
    statistics = FrameStatistics.of([features.values])
    assert statistics.near is not None and statistics.far is not None
    near, far = statistics.near, statistics.far

    def row(batch: str) -> VideoRow:
        report = report_json(Report(path, VIDEO, {"name": "m"}))
        return VideoRow(path, batch, "{}", path, len(features.times), near, far, report)

    times = features.times
    halves = (slice(0, 25), slice(25, None))
    blocks = [(features.values[h], times.start_seconds[h], times.end_seconds[h]) for h in halves]
    store.write(row, blocks, path)


def test_videos_come_in_the_order_of_their_similarity(tmp_path: Path) -> None:
    store = LibraryStore(str(tmp_path / "lib"), LibraryAbout("m", "0" * 64, SIZE, "{}"))
    example = unit(np.random.default_rng(7).normal(size=(1, SIZE)).astype(np.float32))
    videos = {
        "one": video(1, example[0], slice(10, 11), 0.1),  # a match above that of "long"
        "long": video(2, example[0], slice(10, 30), 0.05),
        "noisy": video(3, example[0], slice(0, 8), 0.12),
        "absent": video(4, -example[0], slice(0, 8), 0.05),
    }
    for path, features in videos.items():
        add(store, path, features)
    label = LabelVectors("goal", None, example, np.array([8.0]))
    reports = search_library(store, QueryVectors((label,), None), SearchConfig())

    expected = {
        path: float(score_examples(features, [label]).similarity[0])
        for path, features in videos.items()
    }
    ordered = sorted(expected, key=lambda path: -expected[path])
    assert [report.input for report in reports] == [name for name in ordered if name != "absent"]
    for report in reports:
        (answer,) = report.answers
        assert answer.similarity == pytest.approx(expected[report.input], abs=2e-3)  # float16
    matches = [report.answers[0].match for report in reports]
    assert matches != sorted(matches, reverse=True)  # the match alone gives another order
