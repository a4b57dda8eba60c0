"""The training loop: temporal encoder and heads on normalised stored features, or all of a
model on pixels."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from vtnstream.config import TrainConfig
from vtnstream.errors import TrainingError
from vtnstream.models.vtn import VTN
from vtnstream.training.augment import augment_clips
from vtnstream.training.batches import Batch, collate, epoch_crops
from vtnstream.training.forward import run_model
from vtnstream.training.losses import balanced_weights, head_loss, mixup
from vtnstream.training.targets import Sample, class_counts
from vtnstream.training.validation import validate

State = dict[str, Tensor]

_START_FACTOR, _END_FACTOR = 1 / 25, 1e-4
"""One-cycle's first and last learning rate, of its highest (Smith and Topin 2018)."""


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch came to: a line of ``metrics.jsonl``.

    Attributes:
        epoch: counted from 1.
        steps: optimiser steps so far.
        learning_rate: at the end of the epoch.
        loss: mean of the training loss over its steps.
        validation: metrics on the held-out videos, empty without any.
        seconds: since training began.
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


OnEpoch = Callable[[EpochRecord, Fit], None]
OnStep = Callable[[float, float], None]
"""Takes the share of all epochs that is done and the latest loss."""


def learning_rate(done: float, config: TrainConfig) -> float:
    """At ``done`` (0 to 1) of all steps."""
    optim = config.optim
    if done < optim.warmup:
        part = done / optim.warmup
        if optim.schedule == "onecycle":
            rise = (1 - math.cos(math.pi * part)) / 2
            return optim.learning_rate * (_START_FACTOR + (1 - _START_FACTOR) * rise)
        return optim.learning_rate * part
    if optim.schedule == "constant":
        return optim.learning_rate
    part = (done - optim.warmup) / (1 - optim.warmup)
    fall = (1 + math.cos(math.pi * part)) / 2
    return optim.learning_rate * (_END_FACTOR + (1 - _END_FACTOR) * fall)


def parameter_groups(model: VTN, weight_decay: float) -> list[dict[str, object]]:
    """Trainable parameters with and without weight decay: matrices of linear layers and
    filters of convolutions have it; biases, norms, [CLS] and embedding tables do not."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    decaying = (module for module in model.modules() if isinstance(module, kinds))
    decayed = [module.weight for module in decaying if module.weight.requires_grad]
    known = {id(parameter) for parameter in decayed}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in known]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]


def trained_state(model: VTN) -> State:
    """A copy of all weights but those of a frozen backbone."""
    frozen = not any(parameter.requires_grad for parameter in model.backbone.parameters())
    return {
        name: tensor.detach().clone()
        for name, tensor in model.state_dict().items()
        if not (frozen and name.startswith("backbone."))
    }


def fit(
    model: VTN,
    training: Sequence[Sample],
    validation: Sequence[Sample],
    config: TrainConfig,
    *,
    on_step: OnStep = lambda done, loss: None,
    on_epoch: OnEpoch = lambda record, fit: None,
) -> Fit:
    """Train a model, its backbone only end-to-end; the same seed gives the same losses.

    Args:
        model: on its device; ends with the weights of the last epoch.
        training: samples of normalised features, or end-to-end of frames.
        validation: the same, held out; may be empty, then the last epoch is the best.
        config: ``seed``, ``data`` and ``optim`` are read.
        on_step: called after each step.
        on_epoch: called after each epoch.

    Raises:
        TrainingError: the loss is not finite.
    """
    model.backbone.requires_grad_(config.mode == "end-to-end")
    trainer = _Trainer(model, training, config)
    result = Fit()
    began = time.perf_counter()
    devices = [model.cls_token.device] if model.cls_token.is_cuda else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(config.seed)
        for epoch in range(1, config.optim.epochs + 1):
            loss = trainer.epoch(epoch, on_step)
            record = EpochRecord(
                epoch,
                trainer.steps,
                trainer.rate,
                loss,
                validate(model, validation, config) if validation else {},
                time.perf_counter() - began,
            )
            result.records.append(record)
            if result.best is None or not validation or _better(record, result.best):
                result.best, result.best_state = record, trained_state(model)
            on_epoch(record, result)
            patience = config.optim.patience
            if validation and patience is not None and epoch - result.best.epoch >= patience:
                result.stopped_early = epoch < config.optim.epochs
                break
    return result


def _better(record: EpochRecord, best: EpochRecord) -> bool:
    """By accuracy, among equal ones by loss."""
    new, old = record.validation, best.validation
    return (new["accuracy"], -new["loss"]) > (old["accuracy"], -old["loss"])


class _Trainer:
    """Optimiser, schedule and random order."""

    def __init__(self, model: VTN, samples: Sequence[Sample], config: TrainConfig) -> None:
        self.model, self.samples, self.config = model, samples, config
        self.device = model.cls_token.device
        head = model.config.head
        self.num_classes = len(head.dense_labels or head.labels)
        self.weights: Tensor | None = None
        if config.optim.class_weights != "none":
            counts = class_counts(samples, self.num_classes)
            power = 0.5 if config.optim.class_weights == "root" else 1.0
            self.weights = balanced_weights(counts, power).to(self.device)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(model, config.optim.weight_decay), lr=config.optim.learning_rate
        )
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.order = np.random.default_rng([config.seed, 1])
        self.steps = 0
        self.rate = 0.0

    def epoch(self, epoch: int, on_step: OnStep) -> float:
        """One pass; returns the mean loss."""
        self.model.train()
        if self.config.mode == "frozen":
            self.model.backbone.eval()
        data, optim = self.config.data, self.config.optim
        crops = epoch_crops(
            self.samples,
            max_tokens=data.clip_tokens or data.max_tokens,
            batch_size=optim.batch_size,
            batch_tokens=optim.batch_tokens,
            generator=self.order,
        )
        total = 0.0
        for number, part in enumerate(crops):
            batch = collate(
                part,
                self.model.token_inputs,
                clip_positions=self.model.config.temporal.window_positions == "clip",
            )
            if batch.holds_frames:
                batch = replace(
                    batch, inputs=augment_clips(batch.inputs, self.config.augment, self.order)
                )
            done = (epoch - 1 + number / len(crops)) / optim.epochs
            loss = self.step(batch.to(self.device), learning_rate(done, self.config))
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss is {loss} in epoch {epoch} (step {self.steps}): lower "
                    "optim.learning_rate, or look for broken features"
                )
            total += loss
            on_step((epoch - 1 + (number + 1) / len(crops)) / optim.epochs, loss)
        return total / len(crops)

    def step(self, batch: Batch, rate: float) -> float:
        """One update; returns its loss."""
        optim = self.config.optim
        soft = None
        if optim.mixup and batch.labels is not None:
            batch, soft = mixup(batch, self.num_classes, optim.mixup, self.order)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss = head_loss(
            run_model(self.model, batch),
            batch,
            class_weights=self.weights,
            label_smoothing=optim.label_smoothing,
            soft_labels=soft,
        )
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters, optim.grad_clip)
        self.optimizer.step()
        self.steps += 1
        self.rate = rate
        return float(loss.detach())
