"""The table of a training run: one line per epoch, printed as it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vtnstream.cli.framework.console import Console

if TYPE_CHECKING:
    from vtnstream.training.records import EpochRecord

_WIDTH = 9
_TRAINING = "train %"
_SHORT = {"accuracy": "acc %", "loss": "val loss", "class_accuracy": "class %"}
"""Metric -> shorter column name."""


class EpochTable:
    """Prints one line per epoch above the live display. The header is repeated when the columns
    change.

    Args:
        console: prints the lines.
        epochs: number of epochs of the run.
    """

    def __init__(self, console: Console, epochs: int) -> None:
        self._console, self._epochs = console, epochs
        self._header = ""

    def add(self, record: EpochRecord, best: int) -> None:
        """Print the line of one epoch.

        Args:
            record: loss and metrics of the epoch.
            best: number of the best epoch so far.
        """
        names = [name for name in record.validation if name not in ("class_loss", "f1@25")]
        top1 = record.training.get("accuracy")
        trained = [] if top1 is None else [_TRAINING]
        shown = [_SHORT.get(name, name) for name in names]
        header = _line("epoch", ["loss", *trained, "rate", *shown])
        if header != self._header:
            self._header = header
            self._console.say(header)
        cells = [f"{record.loss:.4f}", *([] if top1 is None else [f"{top1:.4g}"])]
        cells.append(f"{record.learning_rate:.2e}")
        cells += [f"{record.validation[name]:.4g}" for name in names]
        mark = "  best" if best == record.epoch and record.validation else ""
        self._console.say(_line(f"{record.epoch}/{self._epochs}", cells) + mark)


def _line(first: str, cells: list[str]) -> str:
    return " ".join([first.rjust(_WIDTH), *(cell.rjust(_WIDTH) for cell in cells)])
