"""Save the state of a training run, so that an interrupted one resumes with the same losses.

The state is stored in ``unfinished.pt`` in the model folder, which is removed at the end.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vtnstream.atomic import whole_file
from vtnstream.config import TrainConfig
from vtnstream.config.loading import to_dict
from vtnstream.errors import OutputError, TrainingError, UsageError
from vtnstream.training.data.targets import Sample

UNFINISHED_FILE = "unfinished.pt"
SCHEMA = 1

_WITHOUT_INFLUENCE = frozenset({"output", "checkpoint", "data.memory_bytes", "data.videos"})
"""Settings that do not influence the training."""


@dataclass(frozen=True, slots=True, eq=False)
class Unfinished:
    """Saved state of an interrupted training run.

    Attributes:
        settings: flat settings of the run.
        data: digest of the samples, see :func:`digest`.
        state: state of loop, model, optimizer and random generators, from
            :class:`vtnstream.training.loop.Trainer`.
    """

    settings: Mapping[str, Any]
    data: str
    state: Mapping[str, Any]


def flat_settings(config: TrainConfig) -> dict[str, Any]:
    """Return the settings that influence the losses, as dotted names and plain values."""
    return {
        name: value
        for name, value in _flatten(to_dict(config))
        if name not in _WITHOUT_INFLUENCE and name.partition(".")[0] not in _WITHOUT_INFLUENCE
    }


def _flatten(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def digest(*parts: Sequence[Sample]) -> str:
    """Return a digest of the samples: their videos, ranges, labels and targets."""
    found = hashlib.sha256()
    for samples in parts:
        for sample in samples:
            about = (str(sample.video.path), sample.start, sample.stop, sample.label)
            found.update(repr(about).encode())
            if sample.targets is not None:
                found.update(sample.targets.tobytes())
        found.update(b"|")
    return found.hexdigest()


def write_unfinished(folder: Path, unfinished: Unfinished) -> None:
    """Write the state atomically: the previous file remains until the new one is complete.

    Raises:
        OutputError: the file cannot be written.
    """
    path = folder / UNFINISHED_FILE
    document = {
        "schema": SCHEMA,
        "settings": dict(unfinished.settings),
        "data": unfinished.data,
        "state": dict(unfinished.state),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            torch.save(document, file)
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError if writing fails
        why = getattr(error, "strerror", None) or str(error).split("\n", 1)[0]
        raise OutputError(
            f"{path}: the training cannot be saved ({why}): make room, or set checkpoint.on_error "
            "to skip"
        ) from error


def read_unfinished(folder: Path) -> Unfinished | None:
    """Read the state of an interrupted run in this folder; None if there is none.

    Raises:
        TrainingError: the file cannot be read.
    """
    path = folder / UNFINISHED_FILE
    if not path.exists():
        return None
    try:
        document = torch.load(path, map_location="cpu", weights_only=True)
        if document["schema"] != SCHEMA:
            raise ValueError(f"of another version ({document['schema']})")
        return Unfinished(document["settings"], document["data"], document["state"])
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, pickle.PickleError) as error:
        why = str(error).split("\n", 1)[0]
        raise TrainingError(
            f"{path}: the unfinished training cannot be read ({why}): start again with --overwrite"
        ) from error


def refuse_other_settings(unfinished: Unfinished, config: TrainConfig, folder: Path) -> None:
    """Check that an interrupted run had the same settings.

    Raises:
        UsageError: the settings differ.
    """
    # Both are lists where the config has tuples, because they were converted to plain data.
    before, now = dict(unfinished.settings), flat_settings(config)
    other = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
    if other:
        shown = ", ".join(f"{k} was {before.get(k)!r}, is {now.get(k)!r}" for k in other[:3])
        more = f" and {len(other) - 3} more" if len(other) > 3 else ""
        raise UsageError(
            f"{folder}: holds an unfinished training with other settings ({shown}{more}): take "
            "those to continue, --overwrite to start again, or another folder"
        )


def refuse_other_data(unfinished: Unfinished, data: str, folder: Path) -> None:
    """Check that an interrupted run used the same samples.

    Raises:
        UsageError: the samples differ.
    """
    if unfinished.data != data:
        raise UsageError(
            f"{folder}: holds an unfinished training on other videos or annotations: --overwrite "
            "begins anew"
        )


def forget_unfinished(folder: Path) -> None:
    """Remove the state of an interrupted run from the folder.

    Raises:
        OutputError: the file cannot be removed.
    """
    path = folder / UNFINISHED_FILE
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be removed ({error.strerror or error})") from error
