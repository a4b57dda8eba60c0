"""Import libraries without loading torch's compiler, which inference never calls.

timm imports torchvision; torchvision asks ``torch._dynamo`` for one function, and timm marks a few
methods as excluded from compilation. Each of these loads all of ``torch._dynamo`` and sympy: half
of the time and memory of ``import timm``. While :func:`import_light` imports, both requests are
postponed until the function or method is first called.

To do so it replaces ``torch.compiler.disable`` and one entry of ``sys.modules`` for the length of
the import. Commands ask for that with :func:`enable`; a program that imports vtnstream gets the
plain import.
"""

from __future__ import annotations

import importlib
import sys
import threading
from contextlib import contextmanager
from types import ModuleType

TYPE_CHECKING = False  # importing typing is half of the time of a quick start
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_COMPILER = "torch._dynamo"
_UTILS = "torch._dynamo.utils"
_FUNCTION = "is_compile_supported"
_lock = threading.Lock()
"""Serialises imports: of two threads at once, each would take the replacement of the other for
torch's own module."""
_enabled = False


def enable() -> None:
    """Let :func:`import_light` postpone the compiler in this process."""
    global _enabled
    _enabled = True


def import_light(name: str) -> ModuleType:
    """Import a module, without torch's compiler if :func:`enable` was called.

    The plain import is done if the compiler is loaded already, if torch is not built as expected
    (:func:`_postponing_disable`), or if the light import fails.

    Args:
        name: absolute name of the module.

    Raises:
        ImportError: the module cannot be imported plainly either.
    """
    if not _enabled or name in sys.modules:
        return importlib.import_module(name)
    with _lock:
        disable = None if _COMPILER in sys.modules else _postponing_disable()
        if disable is not None:
            try:
                with _replaced(disable):
                    return importlib.import_module(name)
            except Exception:  # the plain import succeeds or tells the real reason
                for part in [each for each in sys.modules if each.startswith(f"{name}.")]:
                    del sys.modules[part]  # it may hold the replacement
    return importlib.import_module(name)


def _postponing_disable() -> Callable[..., Any] | None:
    """Return a ``torch.compiler.disable`` that loads the compiler on the first call of a marked
    function.

    Returns:
        None if torch's own functions do not have the expected parameters.
    """
    import inspect

    import torch

    lazily: Callable[..., Any] | None = getattr(torch, "_disable_dynamo", None)
    try:
        inner = list(inspect.signature(lazily).parameters)  # type: ignore[arg-type]
        outer = list(inspect.signature(torch.compiler.disable).parameters)
    except (AttributeError, TypeError, ValueError):
        return None
    if inner[:2] != ["fn", "recursive"] or outer != ["fn", "recursive", "reason"]:
        return None

    def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
        assert lazily is not None
        return lazily(fn, recursive)

    return disable


@contextmanager
def _replaced(disable: Callable[..., Any]) -> Iterator[None]:
    """Replace ``torch.compiler.disable`` and the compiler's utilities while open."""
    import torch

    own, stand_in = torch.compiler.disable, _StandIn(_UTILS)
    torch.compiler.disable = disable
    sys.modules[_UTILS] = stand_in
    try:
        yield
    finally:
        torch.compiler.disable = own
        stand_in.leave()


class _StandIn(ModuleType):
    """Replaces the compiler's utility module: it has one function, and loads the real module as
    soon as another attribute is requested."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == _FUNCTION:
            return _is_compile_supported
        self.leave()
        return getattr(importlib.import_module(_UTILS), name)

    def leave(self) -> None:
        if sys.modules.get(_UTILS) is self:
            del sys.modules[_UTILS]


def _is_compile_supported(device_type: str) -> bool:
    supported: bool = getattr(importlib.import_module(_UTILS), _FUNCTION)(device_type)
    return supported
