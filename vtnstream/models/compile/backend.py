"""The interface of a compiler, and the table of compilers."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from vtnstream.config.runtime import EAGER as EAGER
from vtnstream.errors import EngineError as EngineError
from vtnstream.models.frame_network import FrameNetwork
from vtnstream.registry import lookup

if TYPE_CHECKING:
    from torch.export import ExportedProgram

BACKENDS: Mapping[str, str] = {
    "inductor": "vtnstream.models.compile.inductor:Inductor",
    "tensorrt": "vtnstream.models.compile.tensorrt:TensorRT",
}
"""Name -> ``module:class`` of each compiler."""

PREFERRED = {"cuda": ("tensorrt", "inductor"), "cpu": ("inductor",)}
"""Compilers that ``--backend auto`` considers on each device type, the best first."""

Engine = Callable[[Tensor], Tensor]
"""Pixels (N, H, W, 3) uint8 -> features (N, D) float32, both on the engine's device, N as compiled.
As many threads may call it at once as it was loaded for."""


class Backend(Protocol):
    """A compiler. It has no state."""

    def missing(self, device: torch.device) -> str | None:
        """Return why it cannot run on ``device`` and what to install; None if it can.

        Heavy libraries are not imported.
        """

    def versions(self) -> dict[str, str]:
        """Return the versions of the libraries, other than torch, that an engine depends on."""

    def export(self, network: FrameNetwork, pixels: Tensor) -> ExportedProgram:
        """Export the network in the form that the compiler takes, for batches of the shape of
        ``pixels`` (N, H, W, 3)."""

    def build(self, program: ExportedProgram, folder: Path, threads: int) -> None:
        """Compile, and write the files of the engine. Runs in a child process.

        Args:
            program: from :meth:`export`.
            folder: private and empty.
            threads: threads of each call of the engine (CPU).
        """

    def load(
        self, folder: Path, network: FrameNetwork, device: torch.device, workers: int
    ) -> Engine:
        """Load an engine that :meth:`build` wrote.

        Args:
            folder: of the engine; the caller trusts it, since loading runs code in it.
            network: has the parts that are not compiled.
            device: the one it was built for.
            workers: number of threads that may call it at once.

        Raises:
            EngineError: it cannot be loaded.
        """


def get_backend(name: str) -> Backend:
    """Return the compiler of this name.

    Raises:
        UsageError: the name is unknown.
    """
    module, _, attribute = lookup(BACKENDS, name, "backend").partition(":")
    backend: Backend = getattr(importlib.import_module(module), attribute)()
    return backend


def export_quietly(module: torch.nn.Module, example: Tensor) -> ExportedProgram:
    """Call ``torch.export`` and suppress its warnings, which do not help users."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return torch.export.export(module, (example,))
