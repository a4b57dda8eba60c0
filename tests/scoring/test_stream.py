"""Scores of a stream equal those of the whole video, and final scores do not change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vtnstream.config import (
    BackboneConfig,
    HeadConfig,
    ModelConfig,
    TemporalConfig,
    TimelineConfig,
)
from vtnstream.errors import UsageError
from vtnstream.features.ring import FeatureRing
from vtnstream.models.create import create_model
from vtnstream.models.long_sequence.streaming import encode_sequence
from vtnstream.models.vtn.model import VTN
from vtnstream.scoring.probabilities import probabilities
from vtnstream.scoring.sliding import SlidingWindows
from vtnstream.scoring.stream import stream_scores
from vtnstream.types import Features, FloatArray, TokenTimes


def model_of(feature_norm: str = "none", **temporal: Any) -> VTN:
    torch.manual_seed(1)
    config = ModelConfig(
        name="tiny",
        backbone=BackboneConfig("test_vit", {"img_size": 64}),
        temporal=TemporalConfig(
            num_layers=1, num_heads=4, intermediate_size=64, attention_window=(4,), **temporal
        ),
        head=HeadConfig(labels=("a", "b", "c"), dense_labels=("background", "d")),
        feature_norm=feature_norm,
    )
    model = create_model(config).eval()
    assert isinstance(model, VTN)
    return model


def features_of(count: int) -> Features:
    random = np.random.default_rng(count)
    indices = np.arange(count) + 5 * (np.arange(count) > 20)  # a gap
    times = TokenTimes(indices, indices, indices / 2, indices / 2 + 0.5)
    return Features(random.normal(size=(count, 64)).astype(np.float32), times)


def sliding(model: VTN, features: Features, options: TimelineConfig) -> FloatArray:
    windows = SlidingWindows(model, features, options)
    windows.read()
    return windows.result()


def poured(model: VTN, options: TimelineConfig, features: Features) -> tuple[FloatArray, int]:
    """Return all scores of a stream, and how many were final before its end.

    Pending scores are compared at each step with a run over the tokens so far.
    """
    scores, dice = stream_scores(model, options), np.random.default_rng(0)
    found: list[FloatArray] = []
    place = 0
    while place < len(features.times):
        part = slice(place, place + int(dice.integers(1, 6)))
        values, times = scores.push(features.values[part], features.times[part])
        assert len(values) == len(times)
        found.append(values)
        place = min(part.stop, len(features.times))
        told = sum(map(len, found))
        assert place - told <= scores.delay_tokens + 1
        pending, rest = scores.pending()
        assert len(rest) == len(pending) == place - told
        if place % 3 == 0 and scores.track == "sliding":
            seen = Features(features.values[:place], features.times[:place])
            assert np.allclose(
                np.concatenate([*found, pending]), sliding(model, seen, options), atol=1e-5
            )
    return np.concatenate([*found, scores.pending()[0]]), sum(map(len, found))


@pytest.mark.parametrize("count", [3, 8, 9, 61])
@pytest.mark.parametrize(
    ("norm", "inputs"),
    [
        ("none", "feature"),
        ("running_mean", "feature+difference"),
        ("dataset", "feature+difference+similarity"),
    ],
)
def test_windows_of_a_stream(count: int, norm: str, inputs: str) -> None:
    model = model_of(norm, token_inputs=inputs, similarity_reach=3)
    options = TimelineConfig(localize="sliding", window=8, stride=3)
    features = features_of(count)
    found, told = poured(model, options, features)
    assert np.allclose(found, sliding(model, features, options), atol=1e-5)
    after = 3 if "similarity" in inputs else 0
    assert told == max(count - 8 - after, 0)


def test_long_windows_and_positions_of_their_own() -> None:
    model = model_of(window_positions="clip")
    options = TimelineConfig(localize="sliding", window=300, stride=150)
    features = features_of(700)
    scores, found = stream_scores(model, options), []
    for start in range(0, 700, 100):
        part = slice(start, start + 100)
        found.append(scores.push(features.values[part], features.times[part])[0])
    found.append(scores.pending()[0])
    assert np.allclose(np.concatenate(found), sliding(model, features, options), atol=1e-5)


def test_a_causal_model_emits_scores_at_once() -> None:
    model = model_of("running_mean", causal=True)
    features = features_of(61)
    found, told = poured(model, TimelineConfig(), features)
    output = encode_sequence(model, features, dense=True)
    assert output.dense_logits is not None
    assert np.allclose(found, probabilities(output.dense_logits, False), atol=1e-5)
    assert told == 60


def test_models_that_need_the_whole_video() -> None:
    for model, options, why in (
        (model_of(), TimelineConfig(localize="dense"), "temporal.causal"),
        (model_of(), TimelineConfig(localize="both"), "choose dense or sliding"),
        (model_of("video_mean"), TimelineConfig(), "video_mean"),
    ):
        with pytest.raises(UsageError, match=why):
            stream_scores(model, options)


def test_the_ring_keeps_the_last_features(tmp_path: Path) -> None:
    indices = np.arange(5000)
    times = TokenTimes(indices, indices, indices / 2, indices / 2 + 0.5)
    values = np.random.default_rng(0).normal(size=(5000, 3)).astype(np.float32)
    ring = FeatureRing(tmp_path, 3, keep_seconds=600)
    most = 0
    for start in range(0, 5000, 7):
        part = slice(start, start + 7)
        ring.append(values[part], times[part])
        most = max(most, len(list(tmp_path.iterdir())))
        kept = ring.times
        assert kept.end_seconds[-1] - kept.start_seconds[0] >= min(600, times[part].end_seconds[-1])
    assert most <= 4
    first = int(ring.times.indices[0])
    assert first > 3000 and len(ring.times) == 5000 - first
    assert np.array_equal(np.concatenate(list(ring.blocks(100))), values[first:])
