"""The training loop, on stored features (temporal encoder and heads) or on frames (whole model)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vtnstream.config import TrainConfig
from vtnstream.errors import TrainingError
from vtnstream.models.architectures import VideoModel
from vtnstream.training.accelerator import Engine
from vtnstream.training.data.batches import Batch, Crop, epoch_crops
from vtnstream.training.data.clips import clip_stride, clip_tokens
from vtnstream.training.data.mixing import mix_batch
from vtnstream.training.data.reading import BatchReader
from vtnstream.training.data.targets import Sample, class_counts
from vtnstream.training.forward import Forward, device_of
from vtnstream.training.losses import balanced_weights, batch_loss
from vtnstream.training.optim import (
    WeightAverage,
    build_optimizer,
    freeze_batch_norm,
    learning_rate,
    trained_state,
)
from vtnstream.training.records import EpochRecord, Fit
from vtnstream.training.training_accuracy import TrainingAccuracy
from vtnstream.training.validation import validate

OnEpoch = Callable[[EpochRecord, Fit], None]
OnStep = Callable[[float, float], None]
"""Callback that receives the completed share of all epochs and the latest loss."""
OnState = Callable[[Callable[[], dict[str, Any]]], None]
"""Callback that receives a function, which returns the state for resuming if it is called."""
Warn = Callable[[str], None]

_MAX_BAD_LOSSES = 20
"""Number of consecutive steps with a loss that is not finite after which training stops."""
_SEED_STEP = 1_000_003
"""Difference between the random seeds of two processes."""


def fit(
    model: VideoModel,
    training: Sequence[Sample],
    validation: Sequence[Sample],
    config: TrainConfig,
    *,
    engine: Engine | None = None,
    begun: tuple[Mapping[str, Any], Fit] | None = None,
    on_step: OnStep = lambda done, loss: None,
    on_epoch: OnEpoch = lambda record, fit: None,
    on_state: OnState = lambda make: None,
    warn: Warn = lambda message: None,
) -> Fit:
    """Train a model; the backbone is trained only end-to-end. Equal seeds give equal losses.

    Args:
        model: on its device; it has the weights of the last epoch afterwards.
        training: samples of normalised features, or of frames for end-to-end training.
        validation: samples for validation. If there are none, the last epoch is the best.
        config: provides ``seed``, ``data``, ``augment`` and ``optim``.
        engine: processes and precision; None is one process in float32.
        begun: state of an interrupted run, and its records so far.
        on_step: called after each step.
        on_epoch: called after each epoch.
        on_state: called after each step and epoch with a function that returns the state.
        warn: receives warnings about skipped steps and videos.

    Raises:
        TrainingError: the loss is not finite.
        VideoError: a video cannot be read any more.
    """
    engine = engine or Engine()
    model.backbone.requires_grad_(config.mode == "end-to-end")
    state, result = begun if begun is not None else (None, Fit())
    device = device_of(model)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed + _SEED_STEP * engine.index)
        trainer = Trainer(model, training, config, engine, warn)
        if state is not None:
            trainer.load(state)
        for epoch in range(trainer.epoch, config.optim.epochs + 1):
            if result.exhausted(config.optim.patience):
                result.stopped_early = True
                break
            loss = trainer.run_epoch(on_step, lambda: on_state(trainer.state))
            with trainer.average.applied():
                metrics = {}
                if validation:
                    metrics = validate(model, validation, config, engine, trainer.reader)
                record = EpochRecord(
                    epoch,
                    trainer.steps,
                    trainer.rate,
                    loss,
                    metrics,
                    trainer.seconds(),
                    trainer.accuracy.metrics(engine),
                )
                result.take(record, lambda: trained_state(model))
            on_epoch(record, result)
            trainer.next_epoch()
            on_state(trainer.state)
        if trainer.average.decay:
            model.load_state_dict(trainer.average.state, strict=False)
    return result


class Trainer:
    """Optimizer, schedule and random order of one training run.

    Attributes:
        epoch: current or next epoch, from 1.
        steps: optimizer steps so far.
        rate: the latest learning rate.
        average: running average of the weights.
        accuracy: how often the model was right in this epoch.
    """

    def __init__(
        self,
        model: VideoModel,
        samples: Sequence[Sample],
        config: TrainConfig,
        engine: Engine,
        warn: Warn,
    ) -> None:
        self.model, self.samples, self.config = model, samples, config
        self.engine, self.warn = engine, warn
        self.device = device_of(model)
        head = model.config.head
        self.num_classes = len(head.dense_labels or head.labels)
        self.class_sizes = head.class_sizes
        self.weights: Tensor | None = None
        if config.optim.class_weights != "none":
            sizes = (self.num_classes,) if head.dense_labels else self.class_sizes
            counts = class_counts(samples, self.num_classes)
            power = 0.5 if config.optim.class_weights == "root" else 1.0
            parts = np.split(counts, np.cumsum(sizes)[:-1])
            self.weights = torch.cat([balanced_weights(p, power) for p in parts]).to(self.device)
        self.forward, self.optimizer = engine.prepare(
            Forward(model), build_optimizer(model, config.optim)
        )
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.average = WeightAverage(model, config.optim.average)
        self.order = np.random.default_rng([config.seed, 1])
        self.reader = BatchReader(model, config, engine, warn)
        self.epoch, self.steps, self.rate = 1, 0, 0.0
        self._batch, self._total, self._bad = 0, 0.0, 0
        self._counted = 0
        self.accuracy = TrainingAccuracy(self.device, head.class_heads)
        self._epoch_order = self.order.bit_generator.state
        self._began = time.perf_counter()

    def seconds(self) -> float:
        """Return the seconds of training so far, over all interruptions."""
        return time.perf_counter() - self._began

    def state(self) -> dict[str, Any]:
        """Return the complete state, from which training resumes with the same losses."""
        random = [torch.get_rng_state()]
        if self.device.type == "cuda":
            random.append(torch.cuda.get_rng_state(self.device))
        return {
            "epoch": self.epoch,
            "batch": self._batch,
            "total": self._total,
            "counted": self._counted,
            "right": self.engine.gather([self.accuracy.state()]),
            "bad": self._bad,
            "steps": self.steps,
            "rate": self.rate,
            "seconds": self.seconds(),
            "epoch_order": self._epoch_order,
            "order": self.order.bit_generator.state,
            "random": self.engine.gather([random]),
            "model": trained_state(self.model),
            "optimizer": self.optimizer.state_dict(),
            "average": (self.average.count, self.average.state),
            "scaler": self.engine.scaler_state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore a state of :meth:`state`.

        Raises:
            TrainingError: the state was saved by another number of processes.
        """
        if len(state["random"]) != self.engine.count:
            raise TrainingError(
                f"the unfinished training ran in {len(state['random'])} processes: go on with as "
                "many"
            )
        self.model.load_state_dict(state["model"], strict=False)
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.count, self.average.state = state["average"]
        self.average.state = {k: v.to(self.device) for k, v in self.average.state.items()}
        self.engine.load_scaler(state["scaler"])
        self.epoch, self._batch, self._total = state["epoch"], state["batch"], state["total"]
        self._bad, self._counted = state["bad"], state["counted"]
        if right := state.get("right"):  # absent in files of earlier versions
            self.accuracy.load(right[self.engine.index])
        self.steps, self.rate = state["steps"], state["rate"]
        self._began = time.perf_counter() - state["seconds"]
        self._epoch_order = state["epoch_order"]
        self.order.bit_generator.state = state["order"]
        random = state["random"][self.engine.index]
        torch.set_rng_state(random[0])
        if self.device.type == "cuda" and len(random) > 1:
            torch.cuda.set_rng_state(random[1], self.device)

    def next_epoch(self) -> None:
        """Advance to the next epoch."""
        self.epoch += 1
        self._batch, self._total, self._counted = 0, 0.0, 0
        self.accuracy.load([])
        self._epoch_order = self.order.bit_generator.state

    def run_epoch(self, on_step: OnStep, on_state: Callable[[], None]) -> float:
        """Train for one epoch, or the rest of a resumed one; return the mean loss.

        Raises:
            TrainingError: no loss, or too many losses in a row, are finite.
            VideoError: a video cannot be read and must not be skipped.
        """
        self.model.train()
        if self.config.mode == "frozen":
            self.model.backbone.eval()
        elif self.config.optim.freeze_batch_norm:
            freeze_batch_norm(self.model.backbone)
        batches, optim = self._batches(), self.config.optim
        for number in range(self._batch, len(batches)):
            done = (self.epoch - 1 + number / len(batches)) / optim.epochs
            batch = self.reader.read(batches[number], self.order)
            self._batch = number + 1
            if not batch.counts and self.engine.count == 1:
                continue  # none of its videos can be read
            loss = self.step(batch, learning_rate(done, self.config))
            if math.isfinite(loss):
                self._total += loss
                self._counted += 1
            on_step((self.epoch - 1 + self._batch / len(batches)) / optim.epochs, loss)
            on_state()
        if not self._counted:
            raise TrainingError(f"no step of epoch {self.epoch} had a loss that is finite")
        return self._total / self._counted

    def _batches(self) -> list[list[Crop]]:
        """Return the batches of this epoch; they are the same when the epoch is resumed."""
        now = self.order.bit_generator.state
        self.order.bit_generator.state = self._epoch_order
        batches = epoch_crops(
            self.samples,
            max_tokens=clip_tokens(self.config),
            batch_size=self.config.optim.batch_size,
            batch_tokens=self.config.optim.batch_tokens,
            generator=self.order,
            stride=clip_stride(self.config),
        )
        if self._batch:
            self.order.bit_generator.state = now
        return batches

    def step(self, batch: Batch, rate: float) -> float:
        """Perform one optimizer step; return its loss over all processes."""
        optim = self.config.optim
        batch, soft = mix_batch(
            batch.to(self.device), self.num_classes, optim, self._mixing_generator()
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        self.optimizer.zero_grad(set_to_none=True)
        held = self._buffers() if optim.on_bad_loss == "skip" else {}
        output = self.forward(batch)
        loss = batch_loss(
            output,
            batch,
            optim,
            class_weights=self.weights,
            soft_labels=soft,
            class_sizes=self.class_sizes,
            engine=self.engine,
        )
        value = float(self.engine.sum(loss.detach()) / self.engine.count)
        if not math.isfinite(value):
            self._handle_bad_loss(value)
            if self.engine.count > 1:  # the other processes wait for this gradient
                self.engine.backward(loss)
            self.model.load_state_dict(held, strict=False)
            return value
        self._bad = 0
        self.accuracy.add(output, batch, soft)
        self.engine.backward(loss)
        if optim.grad_clip:
            self.engine.clip(self.parameters, optim.grad_clip)
        self.optimizer.step()
        self.average.update()
        self.steps += 1
        self.rate = rate
        return value

    def _mixing_generator(self) -> np.random.Generator:
        """Return the random generator of mixup and CutMix.

        Parts of a batch differ in size between processes. A common generator would advance
        differently and then give different batches, so that each process has its own.
        """
        if self.engine.count == 1:
            return self.order
        seed = [self.config.seed, 2, self.epoch, self._batch, self.engine.index]
        return np.random.default_rng(seed)

    def _buffers(self) -> dict[str, Tensor]:
        """Return copies of the buffers that a forward pass changes."""
        saved = self.model.state_dict()
        return {n: saved[n].clone() for n, _ in self.model.named_buffers() if n in saved}

    def _handle_bad_loss(self, loss: float) -> None:
        self._bad += 1
        skips = self.config.optim.on_bad_loss == "skip"
        if not skips or self._bad >= _MAX_BAD_LOSSES:
            often = f" for the {self._bad}. time in a row" if self._bad > 1 else ""
            raise TrainingError(
                f"the loss is {loss} in epoch {self.epoch} (step {self.steps}){often}: lower "
                "optim.learning_rate, or look for broken features"
            )
        self.warn(f"the loss is {loss} after step {self.steps}: the step is left out")
