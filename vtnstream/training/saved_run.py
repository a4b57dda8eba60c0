"""A training run with its folder: files that are written during training, and resuming."""

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
"""Callback that receives the record of an epoch and the number of the best epoch so far."""
_SAVING_RATIO = 20.0
"""Minimum ratio of training time to saving time, because a backbone may be large."""


class SavedRun:
    """One training run with its folder.

    It writes metrics and curves, the best and the last model, and the state for resuming.

    Args:
        config: configuration of the run.
        prepared: model and samples.
        progress: shows the progress and receives warnings.
        engine: processes and precision.
        unfinished: state of an interrupted run, which is resumed.

    Raises:
        UsageError: the interrupted run used other samples.
    """

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
            self._resume(unfinished)

    def _resume(self, unfinished: Unfinished) -> None:
        """Resume an interrupted run, whose best model is in the folder."""
        state = unfinished.state
        self._fitted.records = [EpochRecord(**record) for record in state["records"]]
        if state["best"]:
            self._fitted.best = self._fitted.records[state["best"] - 1]
            self._fitted.best_state = _weights_of(self.folder, trained_state(self.prepared.model))
            self._saved_epoch = state["best"]
        self._begun = (state, self._fitted)
        share = 100 * min((state["epoch"] - 1) / self.config.optim.epochs, 1)
        self.progress.warn(
            f"{self.folder}: an unfinished training continues after step {state['steps']} "
            f"({share:.0f} % done)"
        )

    def fit(self, notify: OnEpoch | None = None) -> Fit:
        """Train and save; after an interruption or error, the best model so far is kept.

        Args:
            notify: called after each epoch.

        Raises:
            TrainingError: the loss is not finite.
            OutputError: the folder cannot be written.
        """
        model, writes = self.prepared.model, self.engine.is_main
        metrics = MetricsLog(self.folder / METRICS_FILE) if writes else None

        def on_epoch(record: EpochRecord, fitted: Fit) -> None:
            self._fitted = fitted
            if metrics is not None:
                self._write_or_warn(lambda: metrics.write(record))
            self._show_progress(record)
            if notify is not None and fitted.best is not None:
                notify(record, fitted.best.epoch)

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
                self._write_or_warn(self._draw)
        if writes:
            forget_unfinished(self.folder)
        return fitted

    def _on_state(self, make: Callable[[], dict[str, Any]]) -> None:
        """Save the state if enough time has passed."""
        due = time.perf_counter() - self._saved_at >= self._pause
        if self.engine.count > 1:  # the first process's clock decides for all
            flag = torch.tensor(float(due and self.engine.is_main), device=self.engine.device)
            due = bool(self.engine.sum(flag))
        if not due:
            return
        began = time.perf_counter()
        state = make()
        if self.engine.is_main:
            self._write_or_warn(lambda: self._save(state))
        self._saved_at = time.perf_counter()
        wanted = self.config.checkpoint.seconds
        self._pause = wanted and max(wanted, _SAVING_RATIO * (self._saved_at - began))

    def _save(self, state: dict[str, Any]) -> None:
        """Save the best model, then the state, which refers to it.

        Both are valid after an interruption at any time.
        """
        best = self._fitted.best
        if best is not None:
            self._save_best()
            self._draw()
        state["records"] = [dataclasses.asdict(record) for record in self._fitted.records]
        state["best"] = best.epoch if best is not None else 0
        write_unfinished(self.folder, Unfinished(self._settings, self._data, state))

    def _draw(self) -> None:
        """Draw the curves of the epochs so far."""
        best, records = self._fitted.best, self._fitted.records
        if len(records) == self._drawn:
            return
        losses = {"training": [(float(r.epoch), r.loss) for r in records]}
        scores: dict[str, list[tuple[float, float]]] = {}
        for record in records:
            for name, value in record.training.items():
                curve = scores.setdefault(f"training {name}", [])
                curve.append((float(record.epoch), value))
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

    def _write_or_warn(self, write: Callable[[], None]) -> None:
        """Call ``write``; an error is a warning if the config allows it."""
        try:
            write()
        except OutputError as error:
            if self.config.checkpoint.on_error == "stop":
                raise
            self.progress.warn(f"{error} (the training continues)")

    def _show_progress(self, record: EpochRecord) -> None:
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
    """Return the weights of the model in a folder that ``like`` names."""
    saved = load_model(folder).state_dict()
    return {name: saved[name].to(tensor.device) for name, tensor in like.items()}
