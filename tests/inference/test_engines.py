"""Which engine runs a backbone: chosen, made, compared, kept and refused. The compiler is a
stand-in here that gives the network back as it is; the real one is in ``test_inductor.py``."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vtnstream.config import RuntimeConfig
from vtnstream.errors import UsageError
from vtnstream.inference import engine_building, engines
from vtnstream.inference.encoder import FrameEncoder, default_batch_size
from vtnstream.inference.extract import extract_features
from vtnstream.inference.samples import SampleShape
from vtnstream.models.compile.backend import EngineError, get_backend
from vtnstream.models.compile.inductor import Inductor
from vtnstream.models.compile.tensorrt import TensorRT
from vtnstream.models.vtn import VTN
from vtnstream.progress import NullProgress
from vtnstream.types import TimeRange
from vtnstream.video.sampling import Burst

TOKENS = 300


class Watcher(NullProgress):
    """What a user would read."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.warnings: list[str] = []

    def start(self, what: str, *, total: float | None, unit: str) -> None:
        self.begun.append(what)

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    @property
    def compiled(self) -> int:
        return sum("compiling test_vit (inductor)" in what for what in self.begun)


@pytest.fixture
def spoiled(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A stand-in for AOTInductor, and a way to make what it gives wrong by a factor."""
    factor = 1.0

    def compile_in_child(
        backend: str, network: Any, pixels: torch.Tensor, folder: Path, **rest: Any
    ) -> float:
        program = get_backend(backend).export(network, pixels)
        rest["on_wait"](0.5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about weights with channels last
            torch.export.save(program, folder / "model.pt2")
        return 3.0

    def load(self: Inductor, folder: Path, *rest: Any) -> Any:
        module = torch.export.load(folder / "model.pt2").module()
        return lambda pixels: module(pixels) * factor

    def spoil(by: float) -> None:
        nonlocal factor
        factor = by

    monkeypatch.setattr(engine_building, "compile_in_child", compile_in_child)
    monkeypatch.setattr(Inductor, "load", load)
    monkeypatch.setattr(Inductor, "missing", lambda self, device: None)
    return spoil


@pytest.fixture
def compiled(runtime: RuntimeConfig, spoiled: object) -> RuntimeConfig:
    return replace(runtime, backend="inductor")


def extract(
    film: Path, model: VTN, runtime: RuntimeConfig, encoder: FrameEncoder | None = None, **rest: Any
) -> tuple[np.ndarray, dict[str, Any], Watcher]:
    watcher = Watcher()
    encoder = encoder or FrameEncoder.from_model(model, runtime)
    with extract_features(
        film, encoder, model.config.sampling, runtime=runtime, progress=watcher, **rest
    ) as found:
        values = np.concatenate(list(found.features.blocks(100)))
        return values, found.facts, watcher


def test_an_engine_is_made_once_and_found_again(
    film: Path, model: VTN, runtime: RuntimeConfig, compiled: RuntimeConfig, tmp_path: Path
) -> None:
    expected, plain, _ = extract(film, model, replace(runtime, backend="eager"))
    assert plain["runtime"]["backend"] == "eager" and plain["runtime"]["reason"] == "asked for"
    values, facts, watcher = extract(film, model, compiled)
    assert len(values) == TOKENS and TOKENS % 8, "the last batch is not full"
    np.testing.assert_allclose(values, expected, atol=1e-5)
    assert watcher.compiled == 1 and not watcher.warnings
    told = facts["runtime"]
    assert told["backend"] == "inductor" and told["compile_seconds"] == 3.0
    assert told["max_difference"] < 1e-4 and told["frames_per_second"] > 0
    assert not facts["from_store"], "features of two backends are never mixed"

    again, facts, watcher = extract(film, model, compiled)  # nothing is missing: no engine
    assert facts["from_store"] and not watcher.compiled
    assert "compile_seconds" not in facts["runtime"]
    np.testing.assert_array_equal(again, values)
    span = TimeRange(start=0, end=20)  # type: ignore[arg-type]
    no_features = replace(compiled, use_cache=False)
    _, facts, watcher = extract(film, model, no_features, span=span)
    assert watcher.compiled == 0 and facts["runtime"]["compile_seconds"] == 3.0


def test_no_cache_leaves_nothing_behind(film: Path, model: VTN, compiled: RuntimeConfig) -> None:
    _, facts, watcher = extract(film, model, replace(compiled, use_cache=False))
    assert watcher.compiled == 1 and facts["runtime"]["backend"] == "inductor"
    assert compiled.cache_dir is not None and not compiled.cache_dir.exists()


def test_one_process_compares_an_engine_once(
    film: Path, model: VTN, compiled: RuntimeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = []
    real = engine_building.check
    monkeypatch.setattr(engine_building, "check", lambda *args: checks.append(1) or real(*args))
    encoder = FrameEncoder.from_model(model, compiled)
    for end in (20, 100):
        span = TimeRange(start=0, end=end)  # type: ignore[arg-type]
        _, facts, _ = extract(film, model, compiled, encoder, span=span)
        assert facts["tokens_encoded"]
    assert len(checks) == 1


def test_an_engine_that_differs_is_refused(
    film: Path,
    model: VTN,
    runtime: RuntimeConfig,
    compiled: RuntimeConfig,
    spoiled: Callable[[float], None],
) -> None:
    expected, _, _ = extract(film, model, replace(runtime, backend="eager", use_cache=False))
    spoiled(1.01)
    encoder = FrameEncoder.from_model(model, compiled)
    values, facts, watcher = extract(film, model, compiled, encoder)
    np.testing.assert_array_equal(values, expected)
    (warning,) = watcher.warnings
    assert "inductor is not used for test_vit" in warning and "differ" in warning
    assert facts["runtime"]["backend"] == "eager" and "differ" in facts["runtime"]["reason"]
    # Neither refused again with a word, nor tried again in this process.
    other = TimeRange(start=0, end=20)  # type: ignore[arg-type]
    no_store = replace(compiled, use_cache=False)
    _, facts, watcher = extract(film, model, no_store, encoder, span=other)
    assert not watcher.warnings and facts["runtime"]["backend"] == "eager"


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_an_engine_without_numbers_is_refused(
    film: Path,
    model: VTN,
    compiled: RuntimeConfig,
    spoiled: Callable[[float], None],
    factor: float,
) -> None:
    spoiled(factor)
    _, facts, watcher = extract(film, model, compiled)
    assert "not finite" in watcher.warnings[0] and facts["runtime"]["backend"] == "eager"


def test_a_compiler_that_fails_is_one_warning(
    film: Path, model: VTN, compiled: RuntimeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **rest: Any) -> float:
        raise EngineError("the compiler failed (out of memory)")

    monkeypatch.setattr(engine_building, "compile_in_child", fail)
    _, facts, watcher = extract(film, model, compiled)
    assert len(watcher.warnings) == 1 and "out of memory" in watcher.warnings[0]
    assert facts["tokens"] == TOKENS and facts["runtime"]["backend"] == "eager"
    assert compiled.cache_dir is not None
    assert not list((compiled.cache_dir / "engines").glob("*/engine.json"))


def test_a_backend_that_cannot_run_is_refused_before_decoding(
    film: Path, model: VTN, runtime: RuntimeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="--backend tensorrt: it needs an NVIDIA GPU"):
        extract(film, model, replace(runtime, backend="tensorrt"))
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UsageError, match="no C\\+\\+ compiler"):
        extract(film, model, replace(runtime, backend="inductor"))
    _, facts, _ = extract(film, model, runtime)
    assert "no C++ compiler" in facts["runtime"]["reason"]


# ---------------------------------------------------------------------------- keeping


def kept(runtime: RuntimeConfig) -> Path:
    assert runtime.cache_dir is not None
    (record,) = (runtime.cache_dir / "engines").glob("*/engine.json")
    return record.parent


def test_engines_others_could_have_written_are_not_loaded(
    film: Path, model: VTN, compiled: RuntimeConfig
) -> None:
    extract(film, model, compiled)
    assert kept(compiled).stat().st_mode & 0o777 == 0o700
    kept(compiled).parent.chmod(0o777)
    _, facts, watcher = extract(film, model, compiled, span=TimeRange(), encoder=None)
    assert facts["from_store"], "stored features need no engine"
    (kept(compiled) / "engine").chmod(0o777)
    no_store = replace(compiled, use_cache=False)
    for _ in range(2):
        _, facts, watcher = extract(film, model, no_store)
        assert facts["runtime"]["backend"] == "eager"
        assert len(watcher.warnings) == 1 and "others may write there" in watcher.warnings[0]
        kept(compiled).parent.chmod(0o700)  # the second time it is the inner folder


def test_a_damaged_engine_is_made_anew(film: Path, model: VTN, compiled: RuntimeConfig) -> None:
    extract(film, model, compiled)
    (file,) = (kept(compiled) / "engine").iterdir()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    _, facts, watcher = extract(film, model, replace(compiled, use_cache=False))
    assert watcher.compiled == 1 and facts["runtime"]["backend"] == "inductor"


def test_what_an_engine_depends_on_is_in_its_name(
    model: VTN, compiled: RuntimeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest(dtype: str = "float32", batch_size: int = 8, threads: int = 1) -> str:
        encoder = FrameEncoder.from_model(model, replace(compiled, dtype=dtype))
        builder = engines.Engines(encoder, compiled, NullProgress())._builder
        builder = replace(builder, team=replace(builder.team, threads=threads))
        return builder.key("inductor", batch_size).digest

    one = digest()
    assert digest() == one
    others = [digest(dtype="bfloat16"), digest(batch_size=4), digest(threads=2)]
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "2.99.0")
        others.append(digest())
    with monkeypatch.context() as patch:
        patch.setattr(engine_building, "hardware", lambda device: {"name": "another processor"})
        others.append(digest())
    with torch.no_grad():
        parameter = next(model.backbone.parameters())
        parameter.add_(1)
        others.append(digest())
        parameter.sub_(1)
    assert len({one, *others}) == 7


def test_engines_that_are_not_used_go_first(
    model: VTN, compiled: RuntimeConfig, film: Path
) -> None:
    extract(film, model, compiled)
    first = kept(compiled)
    os.utime(first, (1, 1))
    extract(film, model, replace(compiled, batch_size=4, use_cache=True), span=None)
    encoder = FrameEncoder.from_model(model, compiled)
    cache = engines.Engines(encoder, compiled, NullProgress()).cache
    assert len(cache.entries()) == 1, "the store goes on in batches of 8"
    no_store = replace(compiled, batch_size=4)
    builder = engines.Engines(encoder, no_store, NullProgress())
    builder.prepare(engines.Choice("inductor", ""), 4, lambda: np.zeros((2, 64, 64, 3), np.uint8))
    (old, size, _), (new, _, _) = cache.entries()
    assert old == first
    assert cache.prune(size) == size
    assert [place for place, _, _ in cache.entries()] == [new]


# --------------------------------------------------------------------------- choosing


def test_auto_compiles_what_repays_it(
    film: Path,
    model: VTN,
    runtime: RuntimeConfig,
    spoiled: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, facts, _ = extract(film, model, replace(runtime, use_cache=False))
    assert facts["runtime"]["backend"] == "eager"
    assert facts["runtime"]["reason"] == "300 frames do not repay compiling"
    monkeypatch.setattr(engines, "WORTH_MEASURING", 100)
    _, facts, _ = extract(film, model, replace(runtime, use_cache=False))
    assert "would not repay its making (300 frames take" in facts["runtime"]["reason"]
    monkeypatch.setattr(engines, "EXPECTED_COMPILE_SECONDS", 0.0)
    monkeypatch.setattr(engines, "_FASTER", 0.0)
    _, facts, watcher = extract(film, model, runtime)
    assert facts["runtime"]["backend"] == "inductor" and watcher.compiled == 1
    assert "it repays its making (300 frames take" in facts["runtime"]["reason"]
    # Next time it is there, however few the frames.
    _, facts, watcher = extract(
        film,
        model,
        replace(runtime, use_cache=False),
        span=TimeRange(start=0, end=5),  # type: ignore[arg-type]
    )
    assert facts["runtime"]["backend"] == "inductor" and watcher.compiled == 0
    assert "frames/s a core" in facts["runtime"]["reason"]


def test_frames_of_many_short_videos_count_together(
    film: Path,
    model: VTN,
    runtime: RuntimeConfig,
    spoiled: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines, "WORTH_MEASURING", 500)
    monkeypatch.setattr(engines, "EXPECTED_COMPILE_SECONDS", 0.0)
    monkeypatch.setattr(engines, "_FASTER", 0.0)
    monkeypatch.setattr(engines, "FEW_FRAMES", 10_000)
    encoder = FrameEncoder.from_model(model, runtime)
    no_store = replace(runtime, use_cache=False)
    backends = [extract(film, model, no_store, encoder)[1]["runtime"]["backend"] for _ in range(2)]
    assert backends == ["eager", "inductor"]


def test_auto_lets_go_of_an_engine_that_is_no_faster(
    film: Path,
    model: VTN,
    runtime: RuntimeConfig,
    spoiled: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines, "WORTH_MEASURING", 100)
    monkeypatch.setattr(engines, "EXPECTED_COMPILE_SECONDS", 0.0)
    monkeypatch.setattr(engines, "_FASTER", 1e9)
    _, facts, watcher = extract(film, model, runtime)
    assert watcher.compiled == 1 and not watcher.warnings
    assert facts["runtime"]["backend"] == "eager"
    assert "inductor is no faster here" in facts["runtime"]["reason"]
    _, facts, watcher = extract(film, model, replace(runtime, use_cache=False))
    assert watcher.compiled == 0 and "no faster" in facts["runtime"]["reason"]


def test_the_next_best_takes_the_place_of_an_engine_that_cannot_be_made(
    film: Path,
    model: VTN,
    runtime: RuntimeConfig,
    spoiled: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a GPU where TensorRT is installed and its libraries are broken."""
    made = engine_building.compile_in_child

    def compile_in_child(backend: str, *rest: Any, **more: Any) -> float:
        if backend == "tensorrt":
            raise EngineError("its libraries cannot be loaded")
        return made(backend, *rest, **more)

    monkeypatch.setattr(engine_building, "compile_in_child", compile_in_child)
    monkeypatch.setattr(engines, "PREFERRED", {"cpu": ("tensorrt", "inductor")})
    monkeypatch.setattr(TensorRT, "missing", lambda self, device: None)
    monkeypatch.setattr(engines, "WORTH_MEASURING", 100)
    monkeypatch.setattr(engines, "EXPECTED_COMPILE_SECONDS", 0.0)
    monkeypatch.setattr(engines, "_FASTER", 0.0)
    _, facts, watcher = extract(film, model, runtime)
    (warning,) = watcher.warnings
    assert "tensorrt is not used for test_vit" in warning
    assert facts["runtime"]["backend"] == "inductor" and watcher.compiled == 1
    assert "tensorrt is not used: its libraries" in facts["runtime"]["reason"]


@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_auto_goes_on_with_the_features_that_are_stored(
    film: Path,
    model: VTN,
    runtime: RuntimeConfig,
    spoiled: object,
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
) -> None:
    begun = TimeRange(start=0, end=60)  # type: ignore[arg-type]
    extract(film, model, replace(runtime, backend=backend), span=begun)
    monkeypatch.setattr(engines, "WORTH_MEASURING", 100)
    compile_seconds = 0.0 if backend == "eager" else 1e9
    monkeypatch.setattr(engines, "EXPECTED_COMPILE_SECONDS", compile_seconds)
    _, facts, _ = extract(film, model, runtime)
    assert facts["runtime"]["backend"] == backend
    assert facts["runtime"]["reason"] == "features of it are stored"
    assert 0 < facts["tokens_encoded"] < TOKENS


def test_a_store_of_another_precision_is_found_when_it_is_asked_for(
    film: Path, model: VTN, runtime: RuntimeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vtnstream.models import precision

    extract(film, model, replace(runtime, dtype="float32"))
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda device: True)
    auto = replace(runtime, dtype="auto")
    _, facts, _ = extract(film, model, auto, span=TimeRange(start=0, end=5))  # type: ignore[arg-type]
    assert facts["runtime"]["dtype"] == "bfloat16" and not facts["from_store"]
    _, facts, _ = extract(film, model, replace(runtime, dtype="float32"))
    assert facts["from_store"] and facts["runtime"]["dtype"] == "float32"


def test_small_pictures_go_through_together() -> None:
    sizes = {
        side: default_batch_size(torch.device("cpu"), pixels=side**2) for side in range(32, 400)
    }
    assert sizes[224] == sizes[384] == 4
    assert sizes[160] == 4 and sizes[158] == 8
    assert sizes[112] == 16 and sizes[79] == sizes[32] == 32
    assert default_batch_size(torch.device("cpu"), SampleShape(Burst(16)), 32**2) == 2


def test_the_batch_size_is_measured_where_a_video_is_long(
    film: Path, model: VTN, runtime: RuntimeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = {4: 100.0, 8: 130.0, 16: 131.0}
    tried = []

    def measure_rate(encoder: Any, team: Any, frames: Any, size: int, rounds: int = 1) -> float:
        tried.append(size)
        return rates[size]

    monkeypatch.setattr("vtnstream.inference.measuring.measure_rate", measure_rate)
    auto = replace(runtime, batch_size=None)
    _, facts, _ = extract(film, model, replace(auto, use_cache=False))
    assert facts["runtime"]["batch_size"] == 32 and not tried, "its pictures are small"
    monkeypatch.setattr("vtnstream.inference.encoder._MOST_SMALL", 4)
    _, facts, _ = extract(film, model, replace(auto, use_cache=False))
    assert facts["runtime"]["batch_size"] == 4 and not tried
    monkeypatch.setattr(engines, "WORTH_TRYING_BATCHES", 100)
    for _ in range(2):
        _, facts, _ = extract(film, model, auto)
        assert facts["runtime"]["batch_size"] == 8, "16 is no twentieth faster"
        assert tried == [4, 8, 16], "once"
