"""Building, comparing, refusing and keeping engines.

The compiler is replaced by one that returns the network unchanged; the real one is tested in
``models/compile/test_compile.py``.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.small_model import TOKENS, Extract, StandInCompiler
from vtnstream.config import RuntimeConfig
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.encoding.engines import build, choose
from vtnstream.encoding.engines.state import EngineState
from vtnstream.models.compile.backend import EngineError
from vtnstream.models.compile.inductor import Inductor
from vtnstream.models.torch_internals import aoti_library
from vtnstream.models.torch_internals.aoti_library import CompiledLibrary
from vtnstream.models.vtn.model import VTN
from vtnstream.progress import NullProgress


def test_an_engine_is_built_once_and_reused(
    extract: Extract, runtime: RuntimeConfig, compiled: RuntimeConfig
) -> None:
    expected, plain, _ = extract(replace(runtime, backend="eager"))
    assert plain["runtime"]["backend"] == "eager" and plain["runtime"]["reason"] == "requested"
    values, facts, watcher = extract(compiled)
    assert len(values) == TOKENS and TOKENS % 8, "the last batch is not full"
    np.testing.assert_allclose(values, expected, atol=1e-5)
    assert watcher.compiled == 1 and not watcher.warnings
    told = facts["runtime"]
    assert told["backend"] == "inductor" and told["compile_seconds"] == 3.0
    assert told["max_difference"] < 1e-4 and told["frames_per_second"] > 0
    assert not facts["from_store"], "features of two backends are never mixed"

    again, facts, watcher = extract(compiled)  # nothing is missing: no engine
    assert facts["from_store"] and not watcher.compiled
    assert "compile_seconds" not in facts["runtime"]
    np.testing.assert_array_equal(again, values)
    no_features = replace(compiled, use_cache=False)
    _, facts, watcher = extract(no_features, seconds=20)
    assert watcher.compiled == 0 and facts["runtime"]["compile_seconds"] == 3.0


def test_no_cache_keeps_no_engine(extract: Extract, compiled: RuntimeConfig) -> None:
    _, facts, watcher = extract(replace(compiled, use_cache=False))
    assert watcher.compiled == 1 and facts["runtime"]["backend"] == "inductor"
    assert compiled.cache_dir is not None and not compiled.cache_dir.exists()


def test_one_process_compares_an_engine_once(
    extract: Extract, model: VTN, compiled: RuntimeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = []
    real = build.check
    monkeypatch.setattr(build, "check", lambda *args: checks.append(1) or real(*args))
    encoder, engines = FrameEncoder.from_model(model, compiled), EngineState()
    for seconds in (20, 100):
        _, facts, _ = extract(compiled, encoder, engines=engines, seconds=seconds)
        assert facts["tokens_encoded"]
    assert len(checks) == 1


def test_an_engine_that_differs_is_refused(
    extract: Extract,
    model: VTN,
    runtime: RuntimeConfig,
    compiled: RuntimeConfig,
    compiler: StandInCompiler,
) -> None:
    expected, _, _ = extract(replace(runtime, backend="eager", use_cache=False))
    compiler.factor = 1.01
    encoder, engines = FrameEncoder.from_model(model, compiled), EngineState()
    values, facts, watcher = extract(compiled, encoder, engines=engines)
    np.testing.assert_array_equal(values, expected)
    (warning,) = watcher.warnings
    assert "inductor is not used for test_vit" in warning and "differ" in warning
    assert facts["runtime"]["backend"] == "eager" and "differ" in facts["runtime"]["reason"]
    # Neither refused again with a word, nor tried again in this process.
    no_store = replace(compiled, use_cache=False)
    _, facts, watcher = extract(no_store, encoder, engines=engines, seconds=20)
    assert not watcher.warnings and facts["runtime"]["backend"] == "eager"


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_an_engine_with_values_that_are_not_finite_is_refused(
    extract: Extract, compiled: RuntimeConfig, compiler: StandInCompiler, factor: float
) -> None:
    compiler.factor = factor
    _, facts, watcher = extract(compiled)
    assert "not finite" in watcher.warnings[0] and facts["runtime"]["backend"] == "eager"


def test_a_compiler_that_fails_is_one_warning(
    extract: Extract, compiled: RuntimeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **rest: Any) -> float:
        raise EngineError("the compiler failed (out of memory)")

    monkeypatch.setattr(build, "compile_in_child", fail)
    _, facts, watcher = extract(compiled)
    assert len(watcher.warnings) == 1 and "out of memory" in watcher.warnings[0]
    assert facts["tokens"] == TOKENS and facts["runtime"]["backend"] == "eager"
    assert compiled.cache_dir is not None
    assert not list((compiled.cache_dir / "engines").glob("*/engine.json"))


def test_another_interface_of_torch_leaves_the_uncompiled_network(
    extract: Extract,
    runtime: RuntimeConfig,
    compiled: RuntimeConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected, _, _ = extract(replace(runtime, backend="eager", use_cache=False))

    def load(self: Inductor, folder: Path, network: Any, device: torch.device, workers: int) -> Any:
        return CompiledLibrary(folder / "model.pt2", device, workers)

    monkeypatch.setattr(Inductor, "load", load)
    monkeypatch.setattr(aoti_library, "_handles", lambda: None)
    aoti_library.interface_problem.cache_clear()
    try:
        values, facts, watcher = extract(compiled)
    finally:
        aoti_library.interface_problem.cache_clear()
    np.testing.assert_array_equal(values, expected)
    assert facts["runtime"]["backend"] == "eager"
    (warning,) = watcher.warnings
    assert "has another interface to tensors" in warning


# ---------------------------------------------------------------------------- keeping


def kept(runtime: RuntimeConfig) -> Path:
    assert runtime.cache_dir is not None
    (record,) = (runtime.cache_dir / "engines").glob("*/engine.json")
    return record.parent


def test_engines_that_other_users_can_write_are_not_loaded(
    extract: Extract, compiled: RuntimeConfig
) -> None:
    extract(compiled)
    assert kept(compiled).stat().st_mode & 0o777 == 0o700
    kept(compiled).parent.chmod(0o777)
    _, facts, watcher = extract(compiled)
    assert facts["from_store"], "stored features need no engine"
    (kept(compiled) / "engine").chmod(0o777)
    no_store = replace(compiled, use_cache=False)
    for _ in range(2):
        _, facts, watcher = extract(no_store)
        assert facts["runtime"]["backend"] == "eager"
        assert len(watcher.warnings) == 1 and "others may write there" in watcher.warnings[0]
        kept(compiled).parent.chmod(0o700)  # the second time it is the inner folder


def test_a_damaged_engine_is_built_again(extract: Extract, compiled: RuntimeConfig) -> None:
    extract(compiled)
    (file,) = (kept(compiled) / "engine").iterdir()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    _, facts, watcher = extract(replace(compiled, use_cache=False))
    assert watcher.compiled == 1 and facts["runtime"]["backend"] == "inductor"


def test_the_key_of_an_engine_holds_everything_it_depends_on(
    model: VTN, compiled: RuntimeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest(dtype: str = "float32", batch_size: int = 8, threads: int = 1) -> str:
        encoder = FrameEncoder.from_model(model, replace(compiled, dtype=dtype))
        builder = choose.Engines(encoder, compiled, NullProgress())._builder
        builder = replace(builder, worker_plan=replace(builder.worker_plan, threads=threads))
        return builder.key("inductor", batch_size).digest

    one = digest()
    assert digest() == one
    others = [digest(dtype="bfloat16"), digest(batch_size=4), digest(threads=2)]
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "2.99.0")
        others.append(digest())
    with monkeypatch.context() as patch:
        patch.setattr(build, "hardware", lambda device: {"name": "another processor"})
        others.append(digest())
    with torch.no_grad():
        parameter = next(model.backbone.parameters())
        parameter.add_(1)
        others.append(digest())
        parameter.sub_(1)
    assert len({one, *others}) == 7


def test_the_least_recently_used_engines_are_removed_first(
    extract: Extract, model: VTN, compiled: RuntimeConfig
) -> None:
    extract(compiled)
    first = kept(compiled)
    os.utime(first, (1, 1))
    extract(replace(compiled, batch_size=4, use_cache=True))
    encoder = FrameEncoder.from_model(model, compiled)
    cache = choose.Engines(encoder, compiled, NullProgress()).cache
    assert len(cache.entries()) == 1, "the store goes on in batches of 8"
    no_store = replace(compiled, batch_size=4)
    builder = choose.Engines(encoder, no_store, NullProgress())
    builder.prepare(choose.Choice("inductor", ""), 4, lambda: np.zeros((2, 64, 64, 3), np.uint8))
    (old, size, _), (new, limit, _) = cache.entries()
    assert old == first
    assert cache.prune(limit) == size
    assert [place for place, _, _ in cache.entries()] == [new]
