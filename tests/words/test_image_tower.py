"""Image towers of image-text models on the ways that other backbones go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Outcome, run
from tests.search.scenes import write_scenes
from tests.small_model import compiled, compiler, runtime
from tests.words.towers import write_model
from vtnstream.config import RuntimeConfig
from vtnstream.encoding.extract import extract_features
from vtnstream.features.file import FeatureFile
from vtnstream.search.space import model_space

_RAY = ("--ray", "local", "--workers", "1", "--range-seconds", "12")

__all__ = ["compiled", "compiler", "run", "runtime"]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes") / "scenes.mp4")


@pytest.fixture(scope="module", params=["clip", pytest.param("siglip", marks=pytest.mark.slow)])
def towers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("towers") / request.param, request.param)


def features(scenes: Path, towers: Path, runtime: RuntimeConfig) -> tuple[np.ndarray, str]:
    space = model_space(towers, runtime)
    with extract_features(scenes, space.encoder, space.sampling, runtime=runtime) as found:
        values = np.concatenate(list(found.features.blocks(64)))
        return values, found.facts.runtime.backend


def test_a_compiled_image_tower_gives_the_features_of_the_plain_one(
    scenes: Path, towers: Path, runtime: RuntimeConfig, compiled: RuntimeConfig
) -> None:
    plain, first = features(scenes, towers, runtime)
    built, second = features(scenes, towers, compiled)
    assert (first, second) == ("eager", "inductor")
    np.testing.assert_allclose(built, plain, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "workers", [(), ("--ray", "local", "--workers", "1", "--range-seconds", "12")]
)
def test_a_batch_extracts_with_an_image_tower(
    workers: tuple[str, ...],
    scenes: Path,
    towers: Path,
    run: Callable[..., Outcome],
    tmp_path: Path,
) -> None:
    if workers:
        pytest.importorskip("ray")
    options = ("-m", towers, "--dtype", "float32", "--no-cache", "-q")
    one, many = tmp_path / "one.safetensors", tmp_path / "many"
    assert run("extract", scenes, *options, "-o", one).code == 0
    outcome = run("batch", "extract", scenes, *options, *workers, "-o", many)
    assert outcome.code == 0, outcome.err
    (written,) = many.rglob("*.safetensors")
    first, second = (np.concatenate(list(FeatureFile(p).blocks(64))) for p in (one, written))
    np.testing.assert_array_equal(first, second)
