"""The frame encoder in numpy fills the same kind of store as torch, bit for bit the same however
it is run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from tests.encoding.test_resume import InterruptAfter, stored_bytes
from vtnstream.blas_threads import one_blas_thread
from vtnstream.config import RuntimeConfig, SamplingConfig
from vtnstream.config.shipped import bundled_model
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.encoding.extract import extract_features
from vtnstream.encoding.numpy_encoder import NumpyEncoder
from vtnstream.encoding.stored import ExtractedFeatures
from vtnstream.errors import UsageError
from vtnstream.models.io.checkpoint import load_model
from vtnstream.models.numpy_vtn.model import NumpyVTN, load_numpy_vtn
from vtnstream.progress import Progress

TWO_A_SECOND = SamplingConfig()
"""Several chunks of the test video."""


@pytest.fixture(scope="module")
def loaded() -> NumpyVTN:
    found = load_numpy_vtn(bundled_model())
    assert found is not None
    return found


@pytest.fixture(scope="module")
def encoder(loaded: NumpyVTN) -> NumpyEncoder:
    return NumpyEncoder(loaded)


def extracted(
    video: Path,
    encoder: NumpyEncoder | FrameEncoder,
    runtime: RuntimeConfig,
    progress: Progress | None = None,
) -> tuple[np.ndarray, ExtractedFeatures]:
    with extract_features(
        video, encoder, TWO_A_SECOND, runtime=runtime, progress=progress
    ) as found:
        return np.concatenate(list(found.features.blocks(100))), found


def test_features_equal_those_of_torch_in_float32(
    video: Path, encoder: NumpyEncoder, runtime: RuntimeConfig, other_runtime: RuntimeConfig
) -> None:
    values, found = extracted(video, encoder, runtime)
    assert found.facts.runtime is not None and found.store is not None
    assert found.facts.runtime.backend == "numpy" and found.facts.runtime.dtype == "float32"
    assert found.store.key.backend == "numpy:cpu"
    theirs = FrameEncoder.from_model(load_model("edits"), replace(other_runtime, dtype="float32"))
    expected, other = extracted(video, theirs, replace(other_runtime, dtype="float32"))
    assert other.store is not None
    assert other.store.key == replace(found.store.key, backend="eager:cpu")
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_the_number_of_threads_changes_nothing(
    video: Path, encoder: NumpyEncoder, runtime: RuntimeConfig, other_runtime: RuntimeConfig
) -> None:
    one, _ = extracted(video, encoder, replace(runtime, threads=1))
    three, found = extracted(video, encoder, replace(other_runtime, threads=3))
    assert found.facts.runtime is not None and found.facts.runtime.workers == 3
    np.testing.assert_array_equal(one, three)


def test_an_interrupted_run_ends_byte_identical(
    video: Path, encoder: NumpyEncoder, runtime: RuntimeConfig, other_runtime: RuntimeConfig
) -> None:
    extracted(video, encoder, runtime)
    with pytest.raises(KeyboardInterrupt):
        extracted(video, encoder, other_runtime, InterruptAfter(250))
    _, found = extracted(video, encoder, other_runtime)
    assert found.facts.stored is not None
    assert 0 < found.facts.stored.tokens_encoded < found.facts.tokens
    assert stored_bytes(other_runtime) == stored_bytes(runtime)


def test_frames_do_not_depend_on_their_batch(loaded: NumpyVTN) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (37, 32, 48, 3), np.uint8)
    whole = loaded.frames(frames)
    np.testing.assert_array_equal(loaded.frames(frames[:32]), whole[:32])
    alone = np.concatenate([loaded.frames(frames[n : n + 1]) for n in range(37)])
    np.testing.assert_allclose(alone, whole, rtol=0, atol=1e-5)


def test_features_that_are_not_finite_are_refused(loaded: NumpyVTN) -> None:
    class Endless(NumpyVTN):
        def __init__(self) -> None:
            self.config = loaded.config
            self.frames = lambda frames: np.full((len(frames), 2), np.inf, np.float32)  # type: ignore[assignment]
            self.num_features, self.backbone_sha256 = 2, ""

    with pytest.raises(UsageError, match="resnet10t in float32 gives values that are not finite"):
        NumpyEncoder(Endless()).runner(2)(np.zeros((2, 32, 48, 3), np.uint8))


def blas_threads() -> list[int]:
    return [x["num_threads"] for x in threadpool_info() if x["user_api"] == "blas"]


def test_the_number_of_blas_threads_is_restored_by_the_last_user() -> None:
    before = blas_threads()
    with one_blas_thread():
        with one_blas_thread():
            assert set(blas_threads()) <= {1}
        assert set(blas_threads()) <= {1}
    assert blas_threads() == before
