"""Search and labels from Python."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import vtnstream
from tests.search.scenes import SCENE_SECONDS, write_scenes, write_still
from vtnstream.errors import UsageError
from vtnstream.words.queries import parse_label


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("api") / "scenes.mp4")


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> vtnstream.RuntimeConfig:
    cache = tmp_path_factory.mktemp("cache")
    return vtnstream.RuntimeConfig(cache_dir=cache, dtype="float32", backend="eager")


@pytest.fixture(scope="module")
def encoder(runtime: vtnstream.RuntimeConfig) -> vtnstream.FrameEncoder:
    torch.manual_seed(0)
    config = vtnstream.BackboneConfig("test_vit", {"img_size": 64})
    return vtnstream.FrameEncoder.from_backbone(config, runtime=runtime)


def test_moments_are_found_by_image_and_span(
    scenes: Path,
    encoder: vtnstream.FrameEncoder,
    runtime: vtnstream.RuntimeConfig,
    tmp_path: Path,
) -> None:
    still = write_still(tmp_path / "two.png", 2)
    report = vtnstream.find_moments(
        scenes,
        [f"third = @{still}", parse_label(f"@{scenes}@7-11")],
        model=encoder,
        config=vtnstream.SearchConfig(smoothing_seconds=0, max_segments=1),
        runtime=runtime,
    )
    assert [a.label for a in report.answers] == ["third", "scenes.mp4@7-11"]
    assert all(answer.found for answer in report.answers)
    at = {answer.label: answer.at for answer in report.answers}
    assert 2 * SCENE_SECONDS <= at["third"] < 3 * SCENE_SECONDS
    assert SCENE_SECONDS <= at["scenes.mp4@7-11"] < 2 * SCENE_SECONDS


def test_labels_make_a_timeline(
    scenes: Path, encoder: vtnstream.FrameEncoder, runtime: vtnstream.RuntimeConfig
) -> None:
    report = vtnstream.label(
        scenes,
        [f"first = @{scenes}@1-5", f"second = @{scenes}@7-11", f"third = @{scenes}@13-15"],
        model=encoder,
        runtime=runtime,
    )
    # smoothing moves the ends of segments by up to half its window
    found = [(s.label, pytest.approx((s.start, s.end), abs=1.5)) for s in report.segments or ()]
    expected = (("first", 0), ("second", 1), ("third", 2), ("first", 4))  # the fourth has no label
    assert found == [
        (label, (scene * SCENE_SECONDS, (scene + 1) * SCENE_SECONDS)) for label, scene in expected
    ]
    scores = {item.label: item.score for item in report.classes}
    assert report.classes[0].label == "first"
    assert scores["first"] == pytest.approx(scores["second"] + scores["third"], abs=0.1)
    assert report.score_name == "match"


@pytest.mark.parametrize(
    ("queries", "message"),
    [([], "no query"), (["a dog"], "understands no words"), (["a", "A"], "named twice")],
)
def test_wrong_requests_are_one_line(
    queries: list[str],
    message: str,
    scenes: Path,
    encoder: vtnstream.FrameEncoder,
    runtime: vtnstream.RuntimeConfig,
) -> None:
    with pytest.raises(UsageError, match=message):
        vtnstream.find_moments(scenes, queries, model=encoder, runtime=runtime)
