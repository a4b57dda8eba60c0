"""Store the fits of a comparison, so that an interrupted comparison continues."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vtnstream.atomic import whole_file
from vtnstream.config import TrainConfig
from vtnstream.errors import OutputError
from vtnstream.training.data.targets import Sample
from vtnstream.training.resume import digest, flat_settings
from vtnstream.types import FloatArray

SEARCH_FOLDER = "search"
"""Folder in the output folder during a comparison; it is removed when the model is written."""

_FREE = frozenset({"recipe", "search_seconds", "ensemble"})
"""Settings that choose among fits without changing them."""


@dataclass(frozen=True, slots=True)
class Job:
    """One fit.

    Attributes:
        recipe: the recipe's name.
        held: numbers of the samples that are held out and predicted; none trains on all.
        member: number of the network among several that differ in their seed alone.
        learned: numbers of the samples that are trained on; none means all that are not held out.
    """

    recipe: str
    held: tuple[int, ...] = ()
    member: int = 0
    learned: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class SavedFit:
    """The result of a job.

    Attributes:
        state: weights, except those of the backbone.
        loss: mean loss at the end.
        steps: optimiser steps.
        seconds: seconds of the fit and of its predictions.
        answers: log-probabilities of each held-out sample.
    """

    state: dict[str, Tensor]
    loss: float
    steps: int
    seconds: float
    answers: list[FloatArray]


class SavedFits:
    """The fits of one comparison.

    Args:
        folder: output folder of the training; None saves nothing.
        config: config of the training.
        samples: training samples, which are held out in turn.
    """

    def __init__(self, folder: Path | None, config: TrainConfig, samples: Sequence[Sample]) -> None:
        self._folder: Path | None = None
        self._key = ""
        if folder is None:
            return
        self._folder = folder / SEARCH_FOLDER
        settings = {k: v for k, v in flat_settings(config).items() if k not in _FREE}
        found = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
        found.update(digest(samples).encode())
        for sample in samples:
            block = next(iter(sample.features.blocks(1)), None)
            found.update(b"" if block is None else block.tobytes())
        self._key = found.hexdigest()

    def load(self, job: Job) -> SavedFit | None:
        """Return the fit of a job, or None if it was not saved, cannot be read or belongs to other
        settings or samples."""
        path = self._path(job)
        if path is None or not path.exists():
            return None
        try:
            document = torch.load(path, map_location="cpu", weights_only=True)
            asked = [self._key, list(job.held), list(job.learned)]
            if [document[name] for name in ("key", "held", "learned")] != asked:
                return None
            answers = [answer.numpy() for answer in document["answers"]]
            about = (document["loss"], document["steps"], document["seconds"])
            return SavedFit(document["state"], *about, answers)
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, pickle.PickleError):
            return None

    def save(self, job: Job, fit: SavedFit) -> None:
        """Write a fit atomically.

        Raises:
            OutputError: it cannot be written.
        """
        path = self._path(job)
        if path is None:
            return
        document = {
            "key": self._key,
            "held": list(job.held),
            "learned": list(job.learned),
            "state": fit.state,
            "loss": fit.loss,
            "steps": fit.steps,
            "seconds": fit.seconds,
            "answers": [torch.from_numpy(answer) for answer in fit.answers],
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as file:
                torch.save(document, file)
        except (OSError, RuntimeError) as error:  # torch raises the second where a write fails
            why = getattr(error, "strerror", None) or str(error).split("\n", 1)[0]
            raise OutputError(f"{path}: the fit cannot be saved ({why}): make room") from error

    def _path(self, job: Job) -> Path | None:
        if self._folder is None:
            return None
        samples = str(min(job.held)) if job.held else "all"
        part = f"_{len(job.learned)}" if job.learned else ""
        return self._folder / f"{job.recipe}_{samples}_{job.member}{part}.pt"


def forget_fits(folder: Path) -> None:
    """Remove all fits that a comparison left in an output folder."""
    shutil.rmtree(folder / SEARCH_FOLDER, ignore_errors=True)
