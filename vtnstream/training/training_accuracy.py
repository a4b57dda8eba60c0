"""Count how often a model is right on the batches it is trained on."""

from __future__ import annotations

import torch
from torch import Tensor

from vtnstream.models.vtn.model import StagedOutput, VTNOutput
from vtnstream.training.accelerator import Engine
from vtnstream.training.data.batches import Batch
from vtnstream.training.data.targets import IGNORE


class TrainingAccuracy:
    """Top-1 accuracy over one epoch, as PySlowFast logs it: of the outputs that the losses are
    computed from, with dropout and augmentation. A mixed sample has the label of its larger share.

    Args:
        device: the device of the model.
    """

    def __init__(self, device: torch.device) -> None:
        # Rows: the dense head, the MLP head; columns: right, all.
        self._counts = torch.zeros(2, 2, dtype=torch.int64, device=device)

    @torch.no_grad()
    def add(self, output: VTNOutput | StagedOutput, batch: Batch, soft: Tensor | None) -> None:
        """Count one batch.

        Args:
            output: the logits of the batch.
            batch: with ``labels``, ``targets`` or both.
            soft: (B, K) labels that replace those of the batch.
        """
        if not batch.counts:
            return
        if batch.targets is not None and output.dense_logits is not None:
            self._count(0, output.dense_logits.flatten(0, 1), batch.targets.flatten())
        labels = batch.labels if soft is None else soft.argmax(-1)
        if labels is not None and output.logits is not None:
            self._count(1, output.logits, labels)

    def _count(self, row: int, logits: Tensor, labels: Tensor) -> None:
        known = labels != IGNORE
        self._counts[row, 0] += (logits.argmax(-1) == labels)[known].sum()
        self._counts[row, 1] += known.sum()

    def metrics(self, engine: Engine) -> dict[str, float]:
        """Return ``accuracy`` in percent over all processes, and ``class_accuracy`` if both heads
        are trained, named as the metrics of the validation videos."""
        (dense, frames), (whole, videos) = engine.sum(self._counts.clone()).tolist()
        found = {"accuracy": 100 * dense / frames} if frames else {}
        if videos:
            found["class_accuracy" if frames else "accuracy"] = 100 * whole / videos
        return found

    def state(self) -> list[list[int]]:
        """Return the counts of this process, for :meth:`load`."""
        counts: list[list[int]] = self._counts.tolist()
        return counts

    def load(self, counts: list[list[int]]) -> None:
        """Continue from :meth:`state`; an empty list starts a new epoch."""
        self._counts.zero_()
        if counts:
            self._counts += torch.tensor(counts, device=self._counts.device)
