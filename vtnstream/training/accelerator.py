"""What a step runs on: this process alone, or several, and in less precision, through
``accelerate`` (the only file that imports it)."""

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
_PATIENCE = timedelta(days=2)
"""How long processes wait for one that extracts features."""
_MIXED = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
T = TypeVar("T")


class Engine:
    """One process in float32.

    Attributes:
        index: of this process.
        count: of all processes.
        device: of the model, or None where the caller chooses.
    """

    index, count = 0, 1
    device: torch.device | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes and speaks."""
        return self.index == 0

    def prepare(
        self, forward: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[Callable[..., Any], torch.optim.Optimizer]:
        """The two as they are to be used from now on."""
        return forward, optimizer

    def backward(self, loss: Tensor) -> None:
        """Gradients of a loss, a mean over the processes."""
        loss.backward()  # type: ignore[no-untyped-call]

    def clip(self, parameters: Sequence[nn.Parameter], largest: float) -> None:
        """The gradient's norm held."""
        nn.utils.clip_grad_norm_(parameters, largest)

    def sum(self, value: Tensor) -> Tensor:
        """Over the processes."""
        return value

    def gather(self, part: list[T]) -> list[T]:
        """Lists of all processes one after another."""
        return part

    def main_first(self) -> AbstractContextManager[Any]:
        """The first process goes in, the others follow when it is out."""
        return nullcontext()

    def scaler_state(self) -> dict[str, Any] | None:
        """Of the loss scaling that float16 needs."""
        return None

    def load_scaler(self, state: dict[str, Any] | None) -> None:
        """Take it up again."""

    def close(self) -> None:
        """Leave nothing for the next training."""


class AcceleratedEngine(Engine):
    """Several processes, started by ``torchrun`` or ``accelerate launch``, or less precision.

    Args:
        precision: of :class:`~vtnstream.config.TrainConfig`.
        on_cpu: whether the model was asked onto the CPU.

    Raises:
        MissingExtraError: ``accelerate`` is not installed.
        ConfigError: the device cannot do this precision.
    """

    def __init__(self, precision: str, *, on_cpu: bool) -> None:
        accelerate = require("accelerate", EXTRA)
        handlers = [
            # what a class-only model leaves out of its last layer has no gradient
            accelerate.DistributedDataParallelKwargs(find_unused_parameters=True),
            accelerate.InitProcessGroupKwargs(timeout=_PATIENCE),
        ]
        try:
            self._accelerator = accelerate.Accelerator(
                mixed_precision=_MIXED[precision], cpu=on_cpu, kwargs_handlers=handlers
            )
        except (ValueError, ImportError) as error:
            raise ConfigError(f"precision {precision} cannot be had here ({error})") from error
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
        AcceleratorState._reset_state()  # else the next training could not choose its precision


def is_main_process() -> bool:
    """Whether this process is the only one, or the first of those ``torchrun`` started."""
    return os.environ.get("RANK", "0") == "0"


def make_engine(config: TrainConfig, device: str) -> Engine:
    """What the environment and ``precision`` ask for.

    Args:
        config: of the training.
        device: of :class:`~vtnstream.config.RuntimeConfig`.
    """
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if not several and config.precision == "float32":
        return Engine()
    return AcceleratedEngine(config.precision, on_cpu=device == "cpu")
