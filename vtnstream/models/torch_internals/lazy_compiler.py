"""Importing timm without torch's compiler, which inference never calls in its own process.

timm imports torchvision, torchvision asks the compiler for one function, timm marks a few
methods as not to be compiled: each loads all of ``torch._dynamo`` and sympy, half of the time
and of the memory of ``import timm``. Both are asked for when they are first called, instead.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

_COMPILER = "torch._dynamo"
_ASKED = "torch._dynamo.utils"
_FUNCTION = "is_compile_supported"
_turn = threading.Lock()
"""Of two threads at once, the later would take the stand-in of the other for torch's own."""


@contextmanager
def without_compiler() -> Iterator[None]:
    """While open, imports that only mention torch's compiler do not load it. Nothing happens
    where it is loaded already, or torch is built otherwise than expected."""
    with _turn:
        yield from _without_compiler()


def _without_compiler() -> Iterator[None]:
    lazily: Callable[..., Any] | None = getattr(torch, "_disable_dynamo", None)
    if _COMPILER in sys.modules or lazily is None:
        yield
        return

    def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
        return lazily(fn, recursive)

    at_once, stand_in = torch.compiler.disable, _StandIn(_ASKED)
    torch.compiler.disable = disable
    sys.modules[_ASKED] = stand_in
    try:
        yield
    finally:
        torch.compiler.disable = at_once
        stand_in.leave()


class _StandIn(ModuleType):
    """In the place of the compiler's module: knows the one function, and makes way for the
    module itself as soon as anything else is asked of it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == _FUNCTION:
            return _is_compile_supported
        self.leave()
        return getattr(importlib.import_module(_ASKED), name)

    def leave(self) -> None:
        if sys.modules.get(_ASKED) is self:
            del sys.modules[_ASKED]


def _is_compile_supported(device_type: str) -> bool:
    supported: bool = getattr(importlib.import_module(_ASKED), _FUNCTION)(device_type)
    return supported
