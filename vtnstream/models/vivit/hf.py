"""``VivitForVideoClassification`` folders of Hugging Face's transformers, read as they are:
``config.json``, ``preprocessor_config.json`` and the weights become a ViViT of form ``joint``.

transformers itself is not needed. Every tensor must be known, and none may be missing.
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

__all__ = ["PREPROCESS_FILES", "WEIGHT_FILES", "load", "read_config", "recognises"]

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


def recognises(folder: str | Path) -> bool:
    """Whether the ``config.json`` of a folder is transformers' of a ViViT."""
    try:
        return read_json(Path(folder) / CONFIG_FILE).get("model_type") == "vivit"
    except ModelError:
        return False


def read_config(folder: str | Path) -> ModelConfig:
    """Our config of such a folder, its weights unseen. Raises as :func:`load`."""
    return model_config(Path(folder), read_settings(Path(folder)))


def load(folder: str | Path) -> tuple[ModelConfig, dict[str, Tensor], Path]:
    """Our config and our tensors of such a folder, and the file these came from.

    Pictures are prepared as its ``preprocessor_config.json`` says, or as in the paper where
    it has none; frames are taken at the paper's rate.

    Raises:
        ModelError: a file is missing or unreadable.
        ConfigError: it asks for something that a ViViT here does not have.
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
