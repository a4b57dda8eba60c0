"""Numbers of the field's own scripts on random cases, run outside this repository.

``golden.json`` holds cases and what ActivityNet's ``eval_detection.py``, MS-TCN's ``eval.py`` and
TMRNet's ``Evaluate.m`` (with ``Main.m``'s means) make of them: equal scores, segments that stand
twice or have no length, videos without segments on either side.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vtnstream.metrics.localization import ACTIVITYNET_THRESHOLDS, localization_scores
from vtnstream.metrics.relaxed_phases import relaxed_phase_scores
from vtnstream.metrics.segmentation import segmentation_scores
from vtnstream.types import Segment

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text("utf-8"))


def frames(runs: list[list[Any]]) -> list[Any]:
    return [label for label, count in runs for _ in range(count)]


@pytest.mark.parametrize("case", GOLDEN["activitynet"])
def test_scores_equal_those_of_the_activitynet_script(case: dict[str, Any]) -> None:
    videos = [
        ([Segment(*row) for row in have], [Segment(*row, 1.0) for row in want])
        for have, want in case["videos"]
    ]
    found = localization_scores(videos)
    assert [found.mean[t] for t in ACTIVITYNET_THRESHOLDS] == pytest.approx(case["mAP"], abs=1e-12)
    assert found.average == pytest.approx(float(np.mean(case["mAP"])), abs=1e-12)


@pytest.mark.parametrize("case", GOLDEN["ms-tcn"])
def test_scores_equal_those_of_the_ms_tcn_script(case: dict[str, Any]) -> None:
    found = segmentation_scores([(frames(have), frames(want)) for have, want in case["videos"]])
    accuracy, edit, *f1 = case["scores"]
    assert found.frame_accuracy == pytest.approx(accuracy)
    assert list(found.f1.values()) == pytest.approx(f1)
    if edit is None:
        assert math.isnan(found.edit) and found.num_empty > 0
        alone = len(case["videos"]) == found.num_empty
        assert math.isnan(found.edit_of_others) if alone else found.edit_of_others >= 0
    else:
        assert found.edit == found.edit_of_others == pytest.approx(edit)


@pytest.mark.parametrize("case", GOLDEN["tmrnet"])
def test_scores_equal_those_of_the_tmrnet_script(case: dict[str, Any]) -> None:
    videos = [(frames(have), frames(want)) for have, want in case["videos"]]
    found = relaxed_phase_scores(videos, 1.0, range(1, 8))
    spreads = (found.accuracy, found.precision, found.recall, found.jaccard)
    values = [value for one in spreads for value in (one.mean, one.sample_deviation)]
    assert values == pytest.approx(case["scores"])
    assert "tmrnet-compat" in found.protocol


def test_equal_scores_keep_the_order_of_the_script() -> None:
    """The order of a reversed ``argsort`` differs between processors."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        scores = rng.integers(1, 4, 30) / 4
        truth = [Segment(float(k), k + 1.0, "a", 1.0) for k in range(0, 30, 2)]
        have = [Segment(float(k), k + 1.0, "a", float(s)) for k, s in enumerate(scores)]
        hits = np.array([k % 2 == 0 for k in scores.argsort()[::-1]])
        precision = np.cumsum(hits) / np.arange(1, 31)
        best = np.maximum.accumulate(precision[::-1])[::-1]
        found = localization_scores([(have, truth)], thresholds=[0.5]).average
        assert found == pytest.approx(best[hits].sum() / 15)
