"""How a training went, epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from vtnstream.training.optim import State


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch came to: a line of ``metrics.jsonl``.

    Attributes:
        epoch: counted from 1.
        steps: optimiser steps so far.
        learning_rate: at the end of the epoch.
        loss: mean of the training loss over its steps.
        validation: metrics on the held-out videos, empty without any.
        seconds: since training began, pauses of one that was taken up again left out.
    """

    epoch: int
    steps: int
    learning_rate: float
    loss: float
    validation: Mapping[str, float]
    seconds: float


@dataclass(slots=True)
class Fit:
    """How training went; ``best_state`` holds all weights that were learned."""

    records: list[EpochRecord] = field(default_factory=list)
    best: EpochRecord | None = None
    best_state: State = field(default_factory=dict)
    stopped_early: bool = False

    def take(self, record: EpochRecord, state: Callable[[], State]) -> None:
        """An epoch has ended; ``state`` gives its weights."""
        self.records.append(record)
        if self.best is None or not record.validation or _better(record, self.best):
            self.best, self.best_state = record, state()

    def exhausted(self, patience: int | None) -> bool:
        """Whether ``patience`` epochs brought nothing better."""
        last = self.records[-1] if self.records else None
        if last is None or self.best is None or patience is None or not last.validation:
            return False
        return last.epoch - self.best.epoch >= patience


def _better(record: EpochRecord, best: EpochRecord) -> bool:
    """By accuracy, among equal ones by loss."""
    new, old = record.validation, best.validation
    return (new["accuracy"], -new["loss"]) > (old["accuracy"], -old["loss"])
