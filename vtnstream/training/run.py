"""``vtnstream train``: annotations in, a model folder out."""

from __future__ import annotations

import dataclasses
import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtnstream.atomic import whole_file
from vtnstream.config import RuntimeConfig, TrainConfig
from vtnstream.config.loading import to_dict
from vtnstream.datasets.annotations import read_annotations, refuse_missing
from vtnstream.errors import ConfigError, OutputError
from vtnstream.models.checkpoint import save_model
from vtnstream.progress import NullProgress, Progress
from vtnstream.training.loop import EpochRecord, Fit, State, fit
from vtnstream.training.preparation import Prepared, prepare, resolve_task
from vtnstream.training.split import split_videos

METRICS_FILE, SUMMARY_FILE, LAST_FOLDER = "metrics.jsonl", "train.json", "last"
SAVE_EVERY_SECONDS = 60.0
"""A better model is written at most so often while training runs: it holds the backbone,
and a backbone may be large."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What ``vtnstream train`` made.

    Attributes:
        folder: the model folder, with the best weights; ``last/`` in it holds the last.
        task: ``classification`` or ``dense``.
        labels: of the trained head.
        best: the epoch whose weights were kept.
        records: all epochs.
        num_train: samples learned from.
        num_validation: samples held out.
        split: in words, why these were held out.
        stopped_early: validation did not improve any more.
        seconds: wall time of features and training.
        warnings: what the user should know.
    """

    folder: Path
    task: str
    labels: tuple[str, ...]
    best: EpochRecord
    records: tuple[EpochRecord, ...]
    num_train: int
    num_validation: int
    split: str
    stopped_early: bool
    seconds: float
    warnings: tuple[str, ...]


def train(
    config: TrainConfig,
    *,
    runtime: RuntimeConfig | None = None,
    progress: Progress | None = None,
) -> TrainResult:
    """Train temporal encoder and head on stored features; the backbone stays as it is.

    Args:
        config: annotations, output folder and everything that shapes the model.
        runtime: device, dtype and store of the features.
        progress: told of features, epochs and warnings.

    Returns:
        what was made; the model folder stands in ``config.output``.

    Raises:
        AnnotationError: the annotations are wrong.
        VideoError: a video cannot be read, unless ``data.on_bad_video`` is ``skip``.
        TrainingError: nothing to learn from, or the loss is not finite.
        OutputError: the folder cannot be written.
    """
    if not config.annotations or not config.output:
        raise ConfigError("train: annotations and output are needed")
    began = time.perf_counter()
    warnings = _Warnings(progress or NullProgress())
    annotations = read_annotations(
        config.annotations,
        format=config.data.format,
        videos=config.data.videos,
        check_files=False,
    )
    if config.data.on_bad_video == "stop":
        refuse_missing(annotations)
    for message in annotations.warnings:
        warnings.warn(message)
    split = split_videos(annotations, config.data, config.seed)
    task = resolve_task(config, annotations)
    with ExitStack() as stack:
        prepared = prepare(config, task, annotations, split, runtime, warnings, stack)
        run = _Run(config, prepared, warnings)
        fitted = run.fit()
    assert fitted.best is not None
    result = TrainResult(
        folder=run.folder,
        task=task,
        labels=prepared.labels,
        best=fitted.best,
        records=tuple(fitted.records),
        num_train=len(prepared.training),
        num_validation=len(prepared.validation),
        split=split.how,
        stopped_early=fitted.stopped_early,
        seconds=time.perf_counter() - began,
        warnings=tuple(warnings.messages),
    )
    _write_summary(run.folder, config, result)
    return result


class _Warnings:
    """Hands progress on and keeps the warnings for the result."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.start, self.advance = progress.start, progress.advance
        self.finish = progress.finish
        self.messages: list[str] = []

    def warn(self, message: str) -> None:
        self.messages.append(message)
        self._progress.warn(message)


class _Run:
    """One training with its folder: metrics as they come, the best model, the last."""

    def __init__(self, config: TrainConfig, prepared: Prepared, progress: Progress) -> None:
        self.config, self.prepared, self.progress = config, prepared, progress
        self.folder = Path(config.output)
        self._last_note = ""
        self._saved_epoch = 0
        self._saved_at = time.perf_counter()

    def fit(self) -> Fit:
        """Train and save. Interrupted or failed, it leaves the best model so far.

        Raises:
            TrainingError: the loss is not finite.
            OutputError: the folder cannot be written.
        """
        model = self.prepared.model
        metrics = _create(self.folder / METRICS_FILE)
        best: list[Fit] = []

        def on_epoch(record: EpochRecord, fitted: Fit) -> None:
            best[:] = [fitted]
            metrics.write(json.dumps(dataclasses.asdict(record)) + "\n")
            metrics.flush()
            self._note(record)
            if time.perf_counter() - self._saved_at > SAVE_EVERY_SECONDS:
                self._save_best(fitted)

        self.progress.start("training", total=self.config.optim.epochs, unit="epochs")
        try:
            fitted = fit(
                model,
                self.prepared.training,
                self.prepared.validation,
                self.config,
                on_step=lambda done, loss: self.progress.advance(
                    done * self.config.optim.epochs, note=self._last_note or f"loss {loss:.3f}"
                ),
                on_epoch=on_epoch,
            )
            save_model(model, self.folder / LAST_FOLDER)
        finally:
            self.progress.finish()
            metrics.close()
            if best:
                self._save_best(best[0])
        return fitted

    def _note(self, record: EpochRecord) -> None:
        score = record.validation.get("accuracy")
        shown = f", validation {score:.1f} %" if score is not None else ""
        self._last_note = f"loss {record.loss:.3f}{shown}"
        self.progress.advance(record.epoch, note=self._last_note)

    def _save_best(self, fitted: Fit) -> None:
        assert fitted.best is not None
        if fitted.best.epoch == self._saved_epoch:
            return
        model = self.prepared.model
        current: State = model.state_dict()
        now = {name: current[name].clone() for name in fitted.best_state}
        model.load_state_dict(fitted.best_state, strict=False)
        save_model(model, self.folder)
        model.load_state_dict(now, strict=False)
        self._saved_epoch, self._saved_at = fitted.best.epoch, time.perf_counter()


def _create(path: Path) -> Any:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error


def _write_summary(folder: Path, config: TrainConfig, result: TrainResult) -> None:
    summary = dataclasses.asdict(result)
    summary.pop("records")
    summary["folder"] = str(result.folder)
    data = json.dumps({"schema": 1, "config": to_dict(config), "result": summary}, indent=2)
    path = folder / SUMMARY_FILE
    try:
        with whole_file(path) as file:
            file.write((data + "\n").encode())
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
