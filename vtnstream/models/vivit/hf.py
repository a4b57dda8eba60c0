"""Load folders of ``VivitForVideoClassification`` as written by Hugging Face's transformers.

``config.json``, ``preprocessor_config.json`` and the weights become a ViViT of form ``joint``. The
library itself is not needed. No tensor may be unknown or missing.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from torch import Tensor

from vtnstream.config import ModelConfig
from vtnstream.errors import CheckpointError, ModelError
from vtnstream.models.io.json_file import read_json
from vtnstream.models.vivit.hf_config import (
    CONFIG_FILE,
    PREPROCESS_FILES,
    model_config,
    read_settings,
)
from vtnstream.models.vivit.hf_tensors import check_state, converted, read_state

__all__ = ["MODEL_TYPE", "PREPROCESS_FILES", "WEIGHT_FILES", "load", "read_config", "recognises"]

MODEL_TYPE = "vivit"
"""``model_type`` in ``config.json`` of such a folder."""

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


def recognises(folder: str | Path) -> bool:
    """Return whether the ``config.json`` of a folder is that of a ViViT of transformers."""
    try:
        return read_json(Path(folder) / CONFIG_FILE).get("model_type") == MODEL_TYPE
    except ModelError:
        return False


def read_config(folder: str | Path) -> ModelConfig:
    """Read the model config of a folder written by transformers, without its weights.

    Raises:
        ModelError, ConfigError: as :func:`load`.
    """
    return model_config(Path(folder), read_settings(Path(folder)))


def load(folder: str | Path) -> tuple[ModelConfig, dict[str, Tensor], Path]:
    """Read a folder written by transformers.

    Preprocessing follows its ``preprocessor_config.json``, or the paper if it has none. Frames
    are sampled at the paper's rate.

    Returns:
        the model config, the tensors under vtnstream's names, and the file they came from.

    Raises:
        ModelError: a file is missing or unreadable.
        ConfigError: the config needs something that this ViViT does not have.
        CheckpointError: tensors are missing, unknown or misshapen, or labels do not fit.
    """
    folder = Path(folder)
    settings = read_settings(folder)
    path = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if path is None:
        raise CheckpointError(f"{folder}: no {' or '.join(WEIGHT_FILES)} in this folder")
    state = read_state(path)
    if not settings.labels:
        count = len(state.get("classifier.bias", ()))
        names = tuple(f"LABEL_{number}" for number in range(count))
        settings = dataclasses.replace(settings, labels=names)
    check_state(state, settings, path)
    return model_config(folder, settings), converted(state, settings), path
