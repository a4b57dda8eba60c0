"""Statistics, normalisation and reading of stored features."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from tests.training.cases import features, video
from vtnstream.models.vtn.feature_norm import FeatureNorm
from vtnstream.training.data.features import (
    FeatureStatistics,
    VideoFeatures,
    fit_feature_norm,
    load,
    normalized,
    read_span,
)
from vtnstream.types import Features, FloatArray, TokenTimes


class OnDisk:
    """A sequence that only provides blocks, as the feature store does."""

    def __init__(self, whole: Features) -> None:
        self._whole = whole

    @property
    def times(self) -> TokenTimes:
        return self._whole.times

    @property
    def num_features(self) -> int:
        return self._whole.num_features

    def blocks(self, size: int) -> Iterator[FloatArray]:
        yield from self._whole.blocks(min(size, 7))


def test_statistics_equal_numpy_even_far_from_zero() -> None:
    parts = [features(50, seed) for seed in range(3)]
    for number, part in enumerate(parts):
        part.values[:] = part.values * 0.01 + 1000 + number
    statistics = FeatureStatistics(parts[0].num_features)
    for part in parts:
        statistics.add_video(OnDisk(part))
    everything = np.concatenate([part.values for part in parts]).astype(np.float64)
    within = np.concatenate(
        [p.values.astype(np.float64) - p.values.mean(0, np.float64) for p in parts]
    )
    np.testing.assert_allclose(statistics.mean, everything.mean(0), rtol=1e-12)
    np.testing.assert_allclose(statistics.std, everything.std(0), rtol=1e-6)
    np.testing.assert_allclose(statistics.std_within, within.std(0), rtol=1e-6)


@pytest.mark.parametrize("kind", ["dataset", "video_mean", "running_mean"])
def test_normalised_training_features_have_unit_scale(kind: str) -> None:
    parts = [features(200, seed) for seed in range(4)]
    for number, part in enumerate(parts):
        part.values[:] = part.values * 3 + 10 * number
    norm = FeatureNorm(kind, parts[0].num_features)
    fit_feature_norm(norm, [VideoFeatures(video(), part) for part in parts])
    seen = np.concatenate([load(normalized(part, norm)).values for part in parts])
    assert abs(seen.std() - 1) < 0.05
    assert abs(seen.mean()) < 0.1


@pytest.mark.parametrize("kind", ["none", "dataset", "video_mean", "running_mean"])
def test_features_in_memory_and_on_disk_are_normalised_equally(kind: str) -> None:
    whole = features(40)
    norm = FeatureNorm(kind, whole.num_features)
    fit_feature_norm(norm, [VideoFeatures(video(), whole)])
    in_memory, streamed = normalized(whole, norm), normalized(OnDisk(whole), norm)
    assert isinstance(in_memory, Features) and not isinstance(streamed, Features)
    expected = norm(torch.from_numpy(whole.values)[None])[0].numpy()
    np.testing.assert_allclose(load(streamed).values, expected, atol=1e-5)
    np.testing.assert_allclose(in_memory.values, expected, atol=1e-5)


def test_spans_of_a_sequence_on_disk_are_read() -> None:
    whole = features(30)
    for start, stop in ((0, 30), (0, 1), (6, 8), (13, 22), (29, 30)):
        np.testing.assert_array_equal(
            read_span(OnDisk(whole), start, stop), whole.values[start:stop]
        )
        np.testing.assert_array_equal(read_span(whole, start, stop), whole.values[start:stop])
