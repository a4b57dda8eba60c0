"""Build the network of a frame encoder when it is needed, with its weights in memory once."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from vtnstream.encoding.known_networks import KnownNetwork
from vtnstream.errors import ModelError
from vtnstream.models.frame_network import FrameNetwork
from vtnstream.models.io.checkpoint import weights_sha256


class LazyNetwork:
    """A network that is built when it is first asked for, by one thread."""

    def __init__(self, build: Callable[[], FrameNetwork]) -> None:
        self._build = build
        self._network: FrameNetwork | None = None
        self._lock = threading.Lock()

    def get(self) -> FrameNetwork:
        with self._lock:
            if self._network is None:
                self._network = self._build()
                del self._build  # with the backbone that it holds
            return self._network

    @property
    def is_built(self) -> bool:
        return self._network is not None


def checked(
    backbone: torch.nn.Module, known: KnownNetwork, files: Sequence[Path]
) -> torch.nn.Module:
    """Return ``backbone``.

    Raises:
        ModelError: the weights are not those whose features are stored.
    """
    if weights_sha256(backbone) != known.weights_sha256:
        raise ModelError(
            f"{files[0]}: its weights changed while they were in use: run the command again"
        )
    return backbone


def copy_in(dtype: torch.dtype, module: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of ``module`` in ``dtype``, without a second copy in its own precision."""
    memo: dict[int, object] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            cast = tensor.detach().to(dtype)
            is_parameter = isinstance(tensor, torch.nn.Parameter)
            memo[id(tensor)] = (
                torch.nn.Parameter(cast, tensor.requires_grad) if is_parameter else cast
            )
    return copy.deepcopy(module, memo)
