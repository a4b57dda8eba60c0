"""The choice of engine, precision and batch size, and its reasons.

The compiler is replaced by one that returns the network unchanged; the real one is tested in
``models/compile/test_compile.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.small_model import TOKENS, Extract, StandInCompiler
from vtnstream.config import RuntimeConfig
from vtnstream.encoding.clips import InputShape
from vtnstream.encoding.encoder import FrameEncoder, default_batch_size
from vtnstream.encoding.engines import build, choose
from vtnstream.encoding.engines.state import EngineState
from vtnstream.errors import UsageError
from vtnstream.models import precision
from vtnstream.models.compile.backend import EngineError
from vtnstream.models.compile.tensorrt import TensorRT
from vtnstream.models.vtn.model import VTN
from vtnstream.video.sampling.grid import Burst


@pytest.fixture
def expect(monkeypatch: pytest.MonkeyPatch, compiler: StandInCompiler) -> Callable[..., None]:
    """Set the assumptions that hold before the compiler and this machine are measured."""

    def expect(**constants: object) -> None:
        for name, value in constants.items():
            monkeypatch.setattr(choose, name, value)

    return expect


def test_a_backend_that_cannot_run_is_refused_before_decoding(
    extract: Extract, runtime: RuntimeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="--backend tensorrt: it needs an NVIDIA GPU"):
        extract(replace(runtime, backend="tensorrt"))
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UsageError, match="no C\\+\\+ compiler"):
        extract(replace(runtime, backend="inductor"))
    _, facts, _ = extract(runtime)
    assert "no C++ compiler" in facts["runtime"]["reason"]


def test_auto_compiles_if_the_time_is_repaid(
    extract: Extract, runtime: RuntimeConfig, expect: Callable[..., None]
) -> None:
    _, facts, _ = extract(replace(runtime, use_cache=False))
    assert facts["runtime"]["backend"] == "eager"
    assert facts["runtime"]["reason"] == "300 frames do not repay compiling"
    expect(WORTH_MEASURING=100)
    _, facts, _ = extract(replace(runtime, use_cache=False))
    assert "would not repay its making (300 frames take" in facts["runtime"]["reason"]
    expect(EXPECTED_COMPILE_SECONDS=0.0, _FASTER=0.0)
    _, facts, watcher = extract(runtime)
    assert facts["runtime"]["backend"] == "inductor" and watcher.compiled == 1
    assert "it repays its making (300 frames take" in facts["runtime"]["reason"]
    # Next time it is there, however few the frames.
    _, facts, watcher = extract(replace(runtime, use_cache=False), seconds=5)
    assert facts["runtime"]["backend"] == "inductor" and watcher.compiled == 0
    assert "frames/s a core" in facts["runtime"]["reason"]


def test_frames_of_many_short_videos_count_together(
    extract: Extract, model: VTN, runtime: RuntimeConfig, expect: Callable[..., None]
) -> None:
    expect(WORTH_MEASURING=500, EXPECTED_COMPILE_SECONDS=0.0, _FASTER=0.0, FEW_FRAMES=10_000)
    encoder, engines = FrameEncoder.from_model(model, runtime), EngineState()
    no_store = replace(runtime, use_cache=False)
    backends = [
        extract(no_store, encoder, engines=engines)[1]["runtime"]["backend"] for _ in range(2)
    ]
    assert backends == ["eager", "inductor"]


def test_auto_drops_an_engine_that_is_no_faster(
    extract: Extract, runtime: RuntimeConfig, expect: Callable[..., None]
) -> None:
    expect(WORTH_MEASURING=100, EXPECTED_COMPILE_SECONDS=0.0, _FASTER=1e9)
    _, facts, watcher = extract(runtime)
    assert watcher.compiled == 1 and not watcher.warnings
    assert facts["runtime"]["backend"] == "eager"
    assert "inductor is no faster here" in facts["runtime"]["reason"]
    _, facts, watcher = extract(replace(runtime, use_cache=False))
    assert watcher.compiled == 0 and "no faster" in facts["runtime"]["reason"]


def test_the_next_best_backend_replaces_an_engine_that_cannot_be_built(
    extract: Extract,
    runtime: RuntimeConfig,
    expect: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a GPU with TensorRT installed and broken libraries."""
    made = build.compile_in_child

    def compile_in_child(backend: str, *rest: Any, **more: Any) -> float:
        if backend == "tensorrt":
            raise EngineError("its libraries cannot be loaded")
        return made(backend, *rest, **more)

    monkeypatch.setattr(build, "compile_in_child", compile_in_child)
    monkeypatch.setattr(TensorRT, "missing", lambda self, device: None)
    expect(
        PREFERRED={"cpu": ("tensorrt", "inductor")},
        WORTH_MEASURING=100,
        EXPECTED_COMPILE_SECONDS=0.0,
        _FASTER=0.0,
    )
    _, facts, watcher = extract(runtime)
    (warning,) = watcher.warnings
    assert "tensorrt is not used for test_vit" in warning
    assert facts["runtime"]["backend"] == "inductor" and watcher.compiled == 1
    assert "tensorrt is not used: its libraries" in facts["runtime"]["reason"]


@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_auto_prefers_the_backend_of_stored_features(
    extract: Extract, runtime: RuntimeConfig, expect: Callable[..., None], backend: str
) -> None:
    extract(replace(runtime, backend=backend), seconds=60)
    expect(WORTH_MEASURING=100, EXPECTED_COMPILE_SECONDS=0.0 if backend == "eager" else 1e9)
    _, facts, _ = extract(runtime)
    assert facts["runtime"]["backend"] == backend
    assert facts["runtime"]["reason"] == "features of it are stored"
    assert 0 < facts["tokens_encoded"] < TOKENS


def test_a_store_of_another_precision_is_found_on_request(
    extract: Extract, runtime: RuntimeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract(replace(runtime, dtype="float32"))
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda device: True)
    auto = replace(runtime, dtype="auto")
    _, facts, _ = extract(auto, seconds=5)
    assert facts["runtime"]["dtype"] == "bfloat16" and not facts["from_store"]
    _, facts, _ = extract(replace(runtime, dtype="float32"))
    assert facts["from_store"] and facts["runtime"]["dtype"] == "float32"


def test_small_frames_use_large_batches() -> None:
    sizes = {
        side: default_batch_size(torch.device("cpu"), pixels=side**2) for side in range(32, 400)
    }
    assert sizes[224] == sizes[384] == 4
    assert sizes[160] == 4 and sizes[158] == 8
    assert sizes[112] == 16 and sizes[79] == sizes[32] == 32
    assert default_batch_size(torch.device("cpu"), InputShape(Burst(16)), 32**2) == 2


def test_the_batch_size_is_measured_for_a_long_video(
    extract: Extract,
    runtime: RuntimeConfig,
    expect: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rates = {4: 100.0, 8: 130.0, 16: 131.0}
    tried = []

    def measure_rate(
        encoder: Any, worker_plan: Any, frames: Any, size: int, rounds: int = 1
    ) -> float:
        tried.append(size)
        return rates[size]

    monkeypatch.setattr("vtnstream.encoding.engines.measure.measure_rate", measure_rate)
    auto = replace(runtime, batch_size=None)
    _, facts, _ = extract(replace(auto, use_cache=False))
    assert facts["runtime"]["batch_size"] == 32 and not tried, "its pictures are small"
    monkeypatch.setattr("vtnstream.encoding.encoder._MOST_SMALL", 4)
    _, facts, _ = extract(replace(auto, use_cache=False))
    assert facts["runtime"]["batch_size"] == 4 and not tried
    expect(WORTH_TRYING_BATCHES=100)
    for _ in range(2):
        _, facts, _ = extract(auto)
        assert facts["runtime"]["batch_size"] == 8, "16 is no twentieth faster"
        assert tried == [4, 8, 4, 16], "once, and again what would be left"
