"""Compiled libraries are refused if torch's tensor handles are not as expected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vtnstream.errors import EngineError
from vtnstream.models.torch_internals import aoti_compiler, aoti_library

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def fresh_check() -> Iterator[None]:
    aoti_library.interface_problem.cache_clear()
    yield
    aoti_library.interface_problem.cache_clear()


def without_functions() -> Any:
    return SimpleNamespace()


def with_another_tensor() -> Any:
    real = torch._C._aoti

    def steal(capsules: list[Any]) -> list[torch.Tensor]:
        return [tensor + 1 for tensor in real.alloc_tensors_by_stealing_from_void_ptrs(capsules)]

    return SimpleNamespace(
        unsafe_alloc_void_ptr_from_tensor=real.unsafe_alloc_void_ptr_from_tensor,
        alloc_tensors_by_stealing_from_void_ptrs=steal,
    )


def test_this_torch_passes() -> None:
    assert aoti_library.interface_problem() is None


@pytest.mark.parametrize("handles", [without_functions, with_another_tensor])
def test_another_interface_loads_nothing(
    handles: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aoti_library, "_handles", handles)
    monkeypatch.setattr(aoti_library.ctypes, "CDLL", lambda path: pytest.fail("it was loaded"))
    with pytest.raises(EngineError, match=r"model\.so: cannot be loaded \(torch .*\)"):
        aoti_library.CompiledLibrary(tmp_path / "model.so", CPU, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"aot_compile": None}, "has no AOTInductor"),
        ({"aot_compile": lambda module, arguments: None}, "takes no options"),
        ({"list_options": lambda: ["freezing"]}, "has no option aot_inductor.output_path"),
    ],
)
def test_another_compiler_compiles_nothing(
    change: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in change.items():
        monkeypatch.setattr(f"torch._inductor.{name}", value)
    program: Any = SimpleNamespace(example_inputs=((torch.zeros(1),), {}))
    with pytest.raises(EngineError, match=message):
        aoti_compiler.compile_library(program, tmp_path / "model.so", 1)
