"""Records of the epochs of a training run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from vtnstream.training.optim import State


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """Metrics of one epoch, a line of ``metrics.jsonl``.

    Attributes:
        epoch: number, from 1.
        steps: optimizer steps so far.
        learning_rate: at the end of the epoch.
        loss: mean training loss over the steps of the epoch.
        validation: metrics on the validation videos; empty if there are none.
        seconds: training time so far, without interruptions.
        training: metrics on the training batches of the epoch, from the outputs of its steps.
    """

    epoch: int
    steps: int
    learning_rate: float
    loss: float
    validation: Mapping[str, float]
    seconds: float
    training: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Fit:
    """Result of a training run so far.

    Attributes:
        records: records of all epochs.
        best: the best epoch: highest validation accuracy, or the last epoch without validation.
        best_state: all trained weights after the best epoch.
        stopped_early: whether training ended because validation did not improve.
    """

    records: list[EpochRecord] = field(default_factory=list)
    best: EpochRecord | None = None
    best_state: State = field(default_factory=dict)
    stopped_early: bool = False

    def take(self, record: EpochRecord, state: Callable[[], State]) -> None:
        """Add the record of an epoch; keep the weights that ``state`` returns if it is the best."""
        self.records.append(record)
        if self.best is None or not record.validation or _better(record, self.best):
            self.best, self.best_state = record, state()

    def exhausted(self, patience: int | None) -> bool:
        """Return whether the last ``patience`` epochs did not improve on the best."""
        last = self.records[-1] if self.records else None
        if last is None or self.best is None or patience is None or not last.validation:
            return False
        return last.epoch - self.best.epoch >= patience


def _better(record: EpochRecord, best: EpochRecord) -> bool:
    """Compare by accuracy; of equal ones the lower loss is better."""
    new, old = record.validation, best.validation
    return (new["accuracy"], -new["loss"]) > (old["accuracy"], -old["loss"])
