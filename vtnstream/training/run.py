"""``vtnstream train``: train a model from annotations and save it in a model folder."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtnstream.atomic import whole_file
from vtnstream.config import AugmentConfig, RuntimeConfig, TrainConfig
from vtnstream.config.loading import to_dict
from vtnstream.datasets.annotations import Annotations, read_annotations, refuse_missing
from vtnstream.errors import ConfigError, OutputError
from vtnstream.models.io.checkpoint import save_model
from vtnstream.progress import NullProgress, Progress
from vtnstream.training.accelerator import is_main_process, make_engine
from vtnstream.training.building import with_installed_backbone
from vtnstream.training.data.split import Split, split_videos
from vtnstream.training.metrics_log import MetricsLog
from vtnstream.training.preparation import Prepared, prepare, resolve_task
from vtnstream.training.records import EpochRecord, Fit
from vtnstream.training.resume import (
    forget_unfinished,
    read_unfinished,
    refuse_other_settings,
)
from vtnstream.training.saved_run import METRICS_FILE, OnEpoch, SavedRun
from vtnstream.training.selection.saved_fits import forget_fits
from vtnstream.training.selection.selecting import SelectedModel, compares_recipes, select_recipe
from vtnstream.training.unlabelled import Unlabelled

_SUMMARY_FILE = "train.json"
_FIRST_FOLDER = "frozen"
"""Folder within the output for the model of the first of two stages."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Result of a training run.

    Attributes:
        folder: model folder with the best weights; its folder ``last/`` holds the last ones.
        task: ``classification``, ``dense`` or ``both``.
        labels: labels of the trained head.
        best: the epoch whose weights were kept.
        records: records of all epochs.
        num_train: number of training samples.
        num_validation: number of validation samples.
        split: how the validation samples were chosen, in words.
        unlabelled: how spans without a label were used and why; empty without a dense head.
        recipe: recipe that was used; ``own`` means the given settings.
        search: comparison of recipes, empty without one; see
            :class:`~vtnstream.training.selection.selecting.SelectedModel`.
        stopped_early: whether training ended because validation did not improve.
        seconds: wall time of feature extraction and training.
        warnings: warnings for the user.
        in_turn: whether the validation samples are training samples, held out in turn to compare
            recipes.
    """

    folder: Path
    task: str
    labels: tuple[str, ...]
    best: EpochRecord
    records: tuple[EpochRecord, ...]
    num_train: int
    num_validation: int
    split: str
    unlabelled: str
    recipe: str
    search: Mapping[str, Any]
    stopped_early: bool
    seconds: float
    warnings: tuple[str, ...]
    in_turn: bool = False


def train(
    config: TrainConfig,
    *,
    runtime: RuntimeConfig | None = None,
    progress: Progress | None = None,
    on_epoch: OnEpoch | None = None,
    restart: bool = False,
) -> TrainResult:
    """Train temporal encoder and heads on stored features, or a whole model on frames.

    An interrupted run with the same settings in this folder is resumed, with the same losses.

    Args:
        config: annotations, output folder, and settings of model and training.
        restart: start from the beginning even if the folder holds an interrupted run.
        runtime: device, dtype and store of the features.
        progress: shows the progress and receives warnings.
        on_epoch: called after each epoch with its record and the number of the best epoch so far.

    Returns:
        A summary; the model folder is ``config.output``.

    Raises:
        ConfigError: a setting is missing or does not match the annotations.
        AnnotationError: the annotations are invalid.
        VideoError: a video cannot be read, unless ``data.on_bad_video`` is ``skip``.
        TrainingError: there is nothing to train on, or the loss is not finite.
        UsageError: the folder holds an interrupted run with other settings.
        OutputError: the folder cannot be written.
    """
    if not config.annotations or not config.output:
        raise ConfigError("train: annotations and output are needed")
    if config.mode == "two-stage":
        return _train_in_stages(
            config, runtime=runtime, progress=progress, on_epoch=on_epoch, restart=restart
        )
    began = time.perf_counter()
    config = with_installed_backbone(config)
    folder, runtime = Path(config.output), runtime or RuntimeConfig()
    if restart and is_main_process():
        forget_unfinished(folder)
        forget_fits(folder)
    unfinished = None if restart else read_unfinished(folder)
    if unfinished is not None:
        refuse_other_settings(unfinished, config, folder)
    warnings = _Warnings(progress if progress and is_main_process() else NullProgress())
    annotations = _annotations(config, warnings)
    task = resolve_task(config, annotations)
    with ExitStack() as stack:
        engine = make_engine(config, runtime.device)
        compares = unfinished is None and compares_recipes(
            config, task, len(annotations.videos), engine.count, max(len(annotations.heads), 1)
        )
        # Cross-validation needs no separate validation videos.
        data = dataclasses.replace(config.data, validation=0.0) if compares else config.data
        split = split_videos(annotations, data, config.seed)
        stack.callback(engine.close)
        if engine.device is not None:
            runtime = dataclasses.replace(runtime, device=str(engine.device))
        with engine.main_first():
            prepared = prepare(config, task, annotations, split, runtime, warnings, stack)
        found: SelectedModel | None = None
        if compares:
            found, fitted = _select(config, task, prepared, warnings, folder, began)
        else:
            run = SavedRun(config, prepared, warnings, engine, unfinished)
            fitted = run.fit(on_epoch if is_main_process() else None)
    result = _result(folder, task, prepared, fitted, split, found)
    result = dataclasses.replace(
        result, seconds=time.perf_counter() - began, warnings=tuple(warnings.messages)
    )
    if is_main_process():
        _write_summary(folder, config, result)
    return result


def _select(
    config: TrainConfig,
    task: str,
    prepared: Prepared,
    progress: Progress,
    folder: Path,
    began: float,
) -> tuple[SelectedModel, Fit]:
    """Compare recipes and save the model of the best one."""
    found = select_recipe(config, task, prepared, progress, folder)
    record = EpochRecord(
        found.epochs, found.steps, 0.0, found.loss, found.metrics, time.perf_counter() - began
    )
    metrics = MetricsLog(folder / METRICS_FILE)
    metrics.begin([record])
    metrics.close()
    save_model(found.model, folder)
    forget_fits(folder)
    return found, Fit(records=[record], best=record)


def _annotations(config: TrainConfig, progress: Progress) -> Annotations:
    """Read the annotations of a run.

    Raises:
        AnnotationError: they are invalid, or videos are missing and must not be skipped.
    """
    annotations = read_annotations(
        config.annotations,
        format=config.data.format,
        videos=config.data.videos,
        check_files=False,
    )
    if config.data.on_bad_video == "stop":
        refuse_missing(annotations)
    for message in annotations.warnings:
        progress.warn(message)
    return annotations


def _result(
    folder: Path,
    task: str,
    prepared: Prepared,
    fitted: Fit,
    split: Split,
    found: SelectedModel | None,
) -> TrainResult:
    assert fitted.best is not None
    return TrainResult(
        folder=folder,
        task=task,
        labels=prepared.labels,
        best=fitted.best,
        records=tuple(fitted.records),
        num_train=len(prepared.training),
        num_validation=_num_validation(prepared, found),
        split=_split_in_words(split, found),
        unlabelled=_unlabelled_in_words(prepared.unlabelled),
        recipe="own" if found is None else found.recipe,
        search={} if found is None else found.document(),
        stopped_early=fitted.stopped_early,
        seconds=0.0,
        warnings=(),
        in_turn=found is not None and not prepared.validation,
    )


def _split_in_words(split: Split, found: SelectedModel | None) -> str:
    if found is None or split.validation:
        return split.how
    return f"each in turn, {len(found.comparison.folds)} of {found.comparison.all_folds} folds"


def _num_validation(prepared: Prepared, found: SelectedModel | None) -> int:
    if found is None or prepared.validation:
        return len(prepared.validation)
    return len(found.comparison.answered)


def _unlabelled_in_words(unlabelled: Unlabelled | None) -> str:
    return "" if unlabelled is None else f"{unlabelled.choice} ({unlabelled.why})"


def _train_in_stages(
    config: TrainConfig,
    *,
    runtime: RuntimeConfig | None = None,
    progress: Progress | None = None,
    on_epoch: OnEpoch | None = None,
    restart: bool = False,
) -> TrainResult:
    """Train encoder and heads on stored features of whole videos, then the whole model on frames.

    The second stage starts from the trained encoder and heads. The arguments are those of
    :func:`train`.
    """
    folder = Path(config.output)
    whole = dataclasses.replace(config.data, clip_tokens=0, clip_seconds=0.0)
    first = dataclasses.replace(
        config,
        mode="frozen",
        output=str(folder / _FIRST_FOLDER),
        data=whole,
        optim=config.first,
        augment=AugmentConfig(),
    )
    second = dataclasses.replace(config, mode="end-to-end", start=first.output)
    if restart or not _has_finished(first):
        train(first, runtime=runtime, progress=progress, on_epoch=on_epoch, restart=restart)
    return train(second, runtime=runtime, progress=progress, on_epoch=on_epoch, restart=restart)


def _has_finished(config: TrainConfig) -> bool:
    """Return whether the folder holds the complete result of exactly this configuration."""
    folder = Path(config.output)
    try:
        written = json.loads((folder / _SUMMARY_FILE).read_text(encoding="utf-8"))["config"]
    except (OSError, ValueError, KeyError):
        return False
    asked = json.loads(json.dumps(to_dict(config)))
    return bool(written == asked) and read_unfinished(folder) is None


class _Warnings:
    """Passes progress on and collects the warnings for the result."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.start, self.advance = progress.start, progress.advance
        self.finish = progress.finish
        self.messages: list[str] = []

    def warn(self, message: str) -> None:
        self.messages.append(message)
        self._progress.warn(message)


def _write_summary(folder: Path, config: TrainConfig, result: TrainResult) -> None:
    summary = dataclasses.asdict(result)
    summary.pop("records")
    summary["folder"] = str(result.folder)
    data = json.dumps({"schema": 1, "config": to_dict(config), "result": summary}, indent=2)
    path = folder / _SUMMARY_FILE
    try:
        with whole_file(path) as file:
            file.write((data + "\n").encode())
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
