"""A training and its folder: what is written while it runs, and how one goes on."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from vtnstream.atomic import whole_file
from vtnstream.config import TrainConfig
from vtnstream.errors import OutputError
from vtnstream.models.io.checkpoint import load_model, save_model
from vtnstream.progress import Progress
from vtnstream.training.accelerator import Engine
from vtnstream.training.loop import fit
from vtnstream.training.metrics_log import MetricsLog
from vtnstream.training.optim import State, trained_state
from vtnstream.training.preparation import Prepared
from vtnstream.training.records import EpochRecord, Fit
from vtnstream.training.resume import (
    Unfinished,
    digest,
    flat_settings,
    forget_unfinished,
    refuse_other_data,
    write_unfinished,
)
from vtnstream.visualize.curves import training_curves

METRICS_FILE, CURVES_FILE, LAST_FOLDER = "metrics.jsonl", "curves.png", "last"
OnEpoch = Callable[[EpochRecord, int], None]
"""Takes an epoch and the number of the best so far."""
SAVING_SHARE = 20.0
"""Saving takes at most one of so many seconds: a backbone may be large."""


class SavedRun:
    """One training with its folder: metrics as they come, the best model, the last, and what
    an interrupted one needs to go on."""

    def __init__(
        self,
        config: TrainConfig,
        prepared: Prepared,
        progress: Progress,
        engine: Engine,
        unfinished: Unfinished | None,
    ) -> None:
        self.config, self.prepared, self.progress = config, prepared, progress
        self.engine = engine
        self.folder = Path(config.output)
        self._settings = flat_settings(config)
        self._data = digest(prepared.training, prepared.validation)
        self._last_note = ""
        self._saved_epoch = self._drawn = 0
        self._pause = config.checkpoint.seconds
        self._saved_at = time.perf_counter()
        self._fitted = Fit()
        self._begun: tuple[Mapping[str, Any], Fit] | None = None
        if unfinished is not None:
            refuse_other_data(unfinished, self._data, self.folder)
            self._take_up(unfinished)

    def _take_up(self, unfinished: Unfinished) -> None:
        """Go on where a training of this folder was cut off; its best model stands there."""
        state = unfinished.state
        self._fitted.records = [EpochRecord(**record) for record in state["records"]]
        if state["best"]:
            self._fitted.best = self._fitted.records[state["best"] - 1]
            self._fitted.best_state = _weights_of(self.folder, trained_state(self.prepared.model))
            self._saved_epoch = state["best"]
        self._begun = (state, self._fitted)
        share = 100 * min((state["epoch"] - 1) / self.config.optim.epochs, 1)
        self.progress.warn(
            f"{self.folder}: an unfinished training goes on after step {state['steps']} "
            f"({share:.0f} % done)"
        )

    def fit(self, told: OnEpoch | None = None) -> Fit:
        """Train and save. Interrupted or failed, it leaves the best model so far.

        Args:
            told: of each epoch.

        Raises:
            TrainingError: the loss is not finite.
            OutputError: the folder cannot be written.
        """
        model, writes = self.prepared.model, self.engine.is_main
        metrics = MetricsLog(self.folder / METRICS_FILE) if writes else None

        def on_epoch(record: EpochRecord, fitted: Fit) -> None:
            self._fitted = fitted
            if metrics is not None:
                self._allowed(lambda: metrics.write(record))
            self._note(record)
            if told is not None and fitted.best is not None:
                told(record, fitted.best.epoch)

        self.progress.start("training", total=self.config.optim.epochs, unit="epochs")
        try:
            if metrics is not None:
                metrics.begin(self._fitted.records)
            fitted = fit(
                model,
                self.prepared.training,
                self.prepared.validation,
                self.config,
                engine=self.engine,
                begun=self._begun,
                on_step=lambda done, loss: self.progress.advance(
                    done * self.config.optim.epochs, note=self._last_note or f"loss {loss:.3f}"
                ),
                on_epoch=on_epoch,
                on_state=self._on_state,
                warn=self.progress.warn,
            )
            if writes:
                save_model(model, self.folder / LAST_FOLDER)
        finally:
            self.progress.finish()
            if metrics is not None:
                metrics.close()
            if writes and self._fitted.best is not None:
                self._save_best()
                self._allowed(self._draw)
        if writes:
            forget_unfinished(self.folder)
        return fitted

    def _on_state(self, make: Callable[[], dict[str, Any]]) -> None:
        """Save where it is time to."""
        due = time.perf_counter() - self._saved_at >= self._pause
        if self.engine.count > 1:  # the first process's clock decides for all
            flag = torch.tensor(float(due and self.engine.is_main), device=self.engine.device)
            due = bool(self.engine.sum(flag))
        if not due:
            return
        began = time.perf_counter()
        state = make()
        if self.engine.is_main:
            self._allowed(lambda: self._save(state))
        self._saved_at = time.perf_counter()
        wanted = self.config.checkpoint.seconds
        self._pause = wanted and max(wanted, SAVING_SHARE * (self._saved_at - began))

    def _save(self, state: dict[str, Any]) -> None:
        """The best model, then the state that names its epoch: whatever comes between, both
        stand."""
        best = self._fitted.best
        if best is not None:
            self._save_best()
            self._draw()
        state["records"] = [dataclasses.asdict(record) for record in self._fitted.records]
        state["best"] = best.epoch if best is not None else 0
        write_unfinished(self.folder, Unfinished(self._settings, self._data, state))

    def _draw(self) -> None:
        """The curves so far."""
        best, records = self._fitted.best, self._fitted.records
        if len(records) == self._drawn:
            return
        losses = {"training": [(float(r.epoch), r.loss) for r in records]}
        scores: dict[str, list[tuple[float, float]]] = {}
        for record in records:
            for name, value in record.validation.items():
                kind, shown = (losses, "held out") if name == "loss" else (scores, name)
                if name != "class_loss":
                    kind.setdefault(shown, []).append((float(record.epoch), value))
        path = self.folder / CURVES_FILE
        try:
            with whole_file(path) as file:
                file.write(training_curves(losses, scores, best.epoch if best else None))
            self._drawn = len(records)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error

    def _allowed(self, write: Callable[[], None]) -> None:
        """Write, or go on without where the config says so."""
        try:
            write()
        except OutputError as error:
            if self.config.checkpoint.on_error == "stop":
                raise
            self.progress.warn(f"{error} (the training goes on)")

    def _note(self, record: EpochRecord) -> None:
        score = record.validation.get("accuracy")
        shown = f", validation {score:.1f} %" if score is not None else ""
        self._last_note = f"loss {record.loss:.3f}{shown}"
        self.progress.advance(record.epoch, note=self._last_note)

    def _save_best(self) -> None:
        best, state = self._fitted.best, self._fitted.best_state
        assert best is not None
        if best.epoch == self._saved_epoch:
            return
        model = self.prepared.model
        current: State = model.state_dict()
        now = {name: current[name].clone() for name in state}
        model.load_state_dict(state, strict=False)
        try:
            save_model(model, self.folder)
        finally:
            model.load_state_dict(now, strict=False)
        self._saved_epoch = best.epoch


def _weights_of(folder: Path, like: State) -> State:
    """What was learned of the model that stands in a folder."""
    saved = load_model(folder).state_dict()
    return {name: saved[name].to(tensor.device) for name, tensor in like.items()}
