"""Run training steps in one or several processes, and in lower precision, with ``accelerate``.

This is the only module that imports ``accelerate``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vtnstream.config import TrainConfig
from vtnstream.errors import ConfigError
from vtnstream.optional import require

EXTRA = "train"
_PROCESS_TIMEOUT = timedelta(days=2)
"""Maximum time that processes wait for one that extracts features."""
_MIXED = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
T = TypeVar("T")


class Engine:
    """Training in one process with float32.

    Attributes:
        index: number of this process, from 0.
        count: number of processes.
        device: device of the model, or None if the caller chooses it.
    """

    index, count = 0, 1
    device: torch.device | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.index == 0

    def prepare(
        self, forward: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[Callable[..., Any], torch.optim.Optimizer]:
        """Return model and optimizer wrapped for training steps."""
        return forward, optimizer

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of a loss; over several processes they are averaged."""
        loss.backward()  # type: ignore[no-untyped-call]

    def clip(self, parameters: Sequence[nn.Parameter], largest: float) -> None:
        """Clip the norm of the gradient to ``largest``."""
        nn.utils.clip_grad_norm_(parameters, largest)

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        return value

    def gather(self, part: list[T]) -> list[T]:
        """Return the concatenated lists of all processes, in the order of the processes."""
        return part

    def main_first(self) -> AbstractContextManager[Any]:
        """Return a context that the main process executes before the others."""
        return nullcontext()

    def scaler_state(self) -> dict[str, Any] | None:
        """Return the state of the loss scaling for float16; None without scaling."""
        return None

    def load_scaler(self, state: dict[str, Any] | None) -> None:
        """Restore the state of the loss scaling."""

    def close(self) -> None:
        """Release state of the process, so that another training run can choose its settings."""


class AcceleratedEngine(Engine):
    """Training in several processes, started by ``torchrun`` or ``accelerate launch``, or in lower
    precision.

    Args:
        precision: as in :class:`~vtnstream.config.TrainConfig`.
        on_cpu: whether the CPU was requested.

    Raises:
        MissingExtraError: ``accelerate`` is not installed.
        ConfigError: the device does not support this precision.
    """

    def __init__(self, precision: str, *, on_cpu: bool) -> None:
        accelerate = require("accelerate", EXTRA)
        handlers = [
            # A model without a dense head leaves some parameters of its last layer unused.
            accelerate.DistributedDataParallelKwargs(find_unused_parameters=True),
            accelerate.InitProcessGroupKwargs(timeout=_PROCESS_TIMEOUT),
        ]
        try:
            self._accelerator = accelerate.Accelerator(
                mixed_precision=_MIXED[precision], cpu=on_cpu, kwargs_handlers=handlers
            )
        except (ValueError, ImportError) as error:
            raise ConfigError(f"precision {precision} is not available here ({error})") from error
        self.index = self._accelerator.process_index
        self.count = self._accelerator.num_processes
        self.device = self._accelerator.device

    def prepare(
        self, forward: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[Callable[..., Any], torch.optim.Optimizer]:
        ready = self._accelerator.prepare(forward, optimizer, device_placement=[False, False])
        return ready[0], ready[1]

    def backward(self, loss: Tensor) -> None:
        self._accelerator.backward(loss)

    def clip(self, parameters: Sequence[nn.Parameter], largest: float) -> None:
        self._accelerator.clip_grad_norm_(parameters, largest)

    def sum(self, value: Tensor) -> Tensor:
        total: Tensor = self._accelerator.reduce(value, "sum")
        return total

    def gather(self, part: list[T]) -> list[T]:
        if self.count == 1:
            return part
        lists: list[list[T]] = [[] for _ in range(self.count)]
        torch.distributed.all_gather_object(lists, part)
        return [item for each in lists for item in each]

    def main_first(self) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = self._accelerator.main_process_first()
        return context

    def scaler_state(self) -> dict[str, Any] | None:
        scaler = self._accelerator.scaler
        return None if scaler is None else scaler.state_dict()

    def load_scaler(self, state: dict[str, Any] | None) -> None:
        if state and self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(state)

    def close(self) -> None:
        from accelerate.state import AcceleratorState

        self._accelerator.free_memory()
        AcceleratorState._reset_state()  # lets the next run choose its precision


def is_main_process() -> bool:
    """Return whether this process is the only one, or the first one that ``torchrun`` started."""
    return os.environ.get("RANK", "0") == "0"


def make_engine(config: TrainConfig, device: str) -> Engine:
    """Return the engine for the environment and the precision of a training run.

    Args:
        config: configuration of the run.
        device: as in :class:`~vtnstream.config.RuntimeConfig`.

    Raises:
        MissingExtraError: ``accelerate`` is needed and not installed.
        ConfigError: the device does not support the precision.
    """
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if not several and config.precision == "float32":
        return Engine()
    return AcceleratedEngine(config.precision, on_cpu=device == "cpu")
