"""Feature files: written block by block, read by the safetensors library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.features.test_store import make_times
from vtnstream.errors import FeatureError, OutputError, UsageError
from vtnstream.features.file import FeatureFile, FeatureSpan, write_features
from vtnstream.types import Features


@pytest.fixture
def features() -> Features:
    values = np.random.default_rng(0).normal(size=(2500, 5)).astype(np.float32)
    return Features(values, make_times(np.arange(2500)))


def test_the_safetensors_library_reads_feature_files(tmp_path: Path, features: Features) -> None:
    path = tmp_path / "f.safetensors"
    write_features(path, features, {"backbone": "vit", "fps": "2"})
    arrays = load_file(path)
    assert set(arrays) == {"features", "indices", "pts", "start_seconds", "end_seconds"}
    np.testing.assert_array_equal(arrays["features"], features.values)
    np.testing.assert_array_equal(arrays["pts"], features.times.pts)
    assert arrays["start_seconds"].dtype == np.float64
    file = FeatureFile(path)
    assert {**file.metadata, "sha256": None} == {"backbone": "vit", "fps": "2", "sha256": None}
    np.testing.assert_array_equal(np.concatenate(list(file.blocks(999))), features.values)
    assert [p.name for p in tmp_path.iterdir()] == ["f.safetensors"]


@pytest.mark.parametrize("num_tokens", [0, 1, 2500])
def test_numpy_reads_features_of_its_formats(
    tmp_path: Path, features: Features, num_tokens: int
) -> None:
    some = FeatureSpan(features, 0, num_tokens)
    write_features(tmp_path / "f.npy", some, {})
    write_features(tmp_path / "F.NPZ", some, {})
    alone = np.load(tmp_path / "f.npy", allow_pickle=False)
    assert alone.dtype == np.float32
    np.testing.assert_array_equal(alone, features.values[:num_tokens])
    with np.load(tmp_path / "F.NPZ", allow_pickle=False) as found:
        np.testing.assert_array_equal(found["features"], features.values[:num_tokens])
        for name in ("start_seconds", "end_seconds"):
            assert found[name].dtype == np.float64
            np.testing.assert_array_equal(found[name], getattr(some.times, name))


def test_an_unknown_suffix_is_refused(tmp_path: Path, features: Features) -> None:
    with pytest.raises(UsageError, match=r"\.safetensors, \.npy or \.npz files: choose one"):
        write_features(tmp_path / "f.h5", features, {})
    assert not list(tmp_path.iterdir())


def test_a_span_selects_tokens_by_grid_position(features: Features) -> None:
    for first, stop, low, high in ((0, None, 0, 2500), (7, 15, 7, 15), (2499, 4000, 2499, 2500)):
        span = FeatureSpan(features, first, stop)
        np.testing.assert_array_equal(span.times.indices, np.arange(low, high))
        np.testing.assert_array_equal(
            np.concatenate(list(span.blocks(100))), features.values[low:high]
        )


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(FeatureError, match="vtnstream extract"):
        FeatureFile(path)
    path.write_bytes(b"no safetensors at all")
    with pytest.raises(FeatureError, match="vtnstream extract"):
        FeatureFile(path)


def test_a_flipped_bit_is_detected(tmp_path: Path, features: Features) -> None:
    path = tmp_path / "f.safetensors"
    write_features(path, features, {})
    data = bytearray(path.read_bytes())
    for position in (-1, -len(data) // 2, 1000):
        data[position] ^= 1
        path.write_bytes(bytes(data))
        with pytest.raises(FeatureError, match=r"damaged|not a feature file"):
            FeatureFile(path)
        data[position] ^= 1
    path.write_bytes(bytes(data))
    FeatureFile(path)


def test_an_unwritable_path_is_one_error_line(tmp_path: Path, features: Features) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_features(tmp_path / "absent" / "f.safetensors", features, {})
