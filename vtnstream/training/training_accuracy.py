"""Count how often a model is right on the batches it is trained on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vtnstream.config import ClassHead
from vtnstream.models.vtn.model import StagedOutput, VTNOutput
from vtnstream.training.accelerator import Engine
from vtnstream.training.data.batches import Batch
from vtnstream.training.data.targets import IGNORE

_DENSE, _WHOLE, _HEADS = 0, 1, 2
"""Rows of the counts: the dense head, the class head or heads together, and each of several."""


class TrainingAccuracy:
    """Top-1 accuracy over one epoch, as PySlowFast logs it: of the outputs that the losses are
    computed from, with dropout and augmentation. A mixed sample has the label of its larger share.

    Args:
        device: the device of the model.
        heads: its class heads. With several, a video counts as right if all heads are.
    """

    def __init__(self, device: torch.device, heads: Sequence[ClassHead] = ()) -> None:
        self._heads = tuple(heads) if len(heads) > 1 else ()
        # Columns: right, all.
        rows = _HEADS + len(self._heads)
        self._counts = torch.zeros(rows, 2, dtype=torch.int64, device=device)

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
            targets = batch.targets.flatten()
            right = output.dense_logits.flatten(0, 1).argmax(-1) == targets
            self._count(_DENSE, right[targets != IGNORE])
        labels, logits = batch.labels, output.logits
        if labels is None or logits is None:
            return
        if not self._heads:
            self._count(_WHOLE, logits.argmax(-1) == (labels if soft is None else soft.argmax(-1)))
            return
        every = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
        for number, head in enumerate(self._heads):
            own = labels[:, number] - head.start
            if soft is not None:
                own = soft[:, head.columns].argmax(-1)
            right = logits[:, head.columns].argmax(-1) == own
            self._count(_HEADS + number, right)
            every &= right
        self._count(_WHOLE, every)

    def _count(self, row: int, right: Tensor) -> None:
        self._counts[row, 0] += right.sum()
        self._counts[row, 1] += right.numel()

    def metrics(self, engine: Engine) -> dict[str, float]:
        """Return ``accuracy`` in percent over all processes, ``class_accuracy`` if class and dense
        head are trained, and ``verb_accuracy`` etc. of several class heads, named as the metrics of
        the validation videos."""
        counts = engine.sum(self._counts.clone()).tolist()
        (dense, frames), (whole, videos) = counts[:_HEADS]
        found = {"accuracy": 100 * dense / frames} if frames else {}
        if videos:
            found["class_accuracy" if frames else "accuracy"] = 100 * whole / videos
        for head, (right, seen) in zip(self._heads, counts[_HEADS:], strict=True):
            if seen:
                found[f"{head.name}_accuracy"] = 100 * right / seen
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
