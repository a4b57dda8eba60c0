"""What a compiler offers, and the table of them."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from vtnstream.errors import EngineError as EngineError
from vtnstream.models.frame_network import FrameNetwork
from vtnstream.registry import lookup

if TYPE_CHECKING:
    from torch.export import ExportedProgram

EAGER = "eager"
"""The network as it is: no compiler."""

BACKENDS: Mapping[str, str] = {
    "inductor": "vtnstream.models.compile.inductor:Inductor",
    "tensorrt": "vtnstream.models.compile.tensorrt:TensorRT",
}
"""Name -> ``module:class``. Eager is no compiler and not here."""

PREFERRED = {"cuda": ("tensorrt", "inductor"), "cpu": ("inductor",)}
"""What ``--backend auto`` considers on a device, best first."""

Engine = Callable[[Tensor], Tensor]
"""Pixels (N, H, W, 3) uint8 to features (N, D) float32, both on the engine's device, N as
compiled. Any number of threads may call it, up to the number it was loaded for."""


class Backend(Protocol):
    """One compiler. Stateless."""

    def missing(self, device: torch.device) -> str | None:
        """What keeps it from running on ``device``, with the way out; None where nothing does.
        Imports nothing heavy."""

    def versions(self) -> dict[str, str]:
        """Of the libraries beside torch that an engine depends on."""

    def export(self, network: FrameNetwork, pixels: Tensor) -> ExportedProgram:
        """The network as the compiler takes it, for batches like ``pixels`` (N, H, W, 3)."""

    def build(self, program: ExportedProgram, folder: Path, threads: int) -> None:
        """Compile and write the engine's files. Runs in a child process.

        Args:
            program: from :meth:`export`.
            folder: private and empty.
            threads: of torch, for each call of the engine (CPU).
        """

    def load(
        self, folder: Path, network: FrameNetwork, device: torch.device, workers: int
    ) -> Engine:
        """The engine of a folder that :meth:`build` filled.

        Args:
            folder: trusted by the caller.
            network: gives the parts that are not compiled.
            device: as built for.
            workers: most threads that will call it at once.

        Raises:
            EngineError: it cannot be loaded.
        """


def get_backend(name: str) -> Backend:
    """The compiler of this name.

    Raises:
        UsageError: the name is unknown.
    """
    module, _, attribute = lookup(BACKENDS, name, "backend").partition(":")
    backend: Backend = getattr(importlib.import_module(module), attribute)()
    return backend


def export_quietly(module: torch.nn.Module, example: Tensor) -> ExportedProgram:
    """``torch.export`` without its warnings, which tell a user nothing."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return torch.export.export(module, (example,))
