"""Locate the files of ``configs/``: presets, label lists and the bundled model."""

from __future__ import annotations

from pathlib import Path

from vtnstream.labels import read_labels


def shipped(kind: str) -> Path:
    """Return the folder ``configs/<kind>``: inside the package in an installed wheel, at the top
    level in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs" / kind
    return installed if installed.is_dir() else package.parent / "configs" / kind


def shipped_labels(name: str) -> tuple[str, ...]:
    """Return a label list of the package by name.

    ``kinetics-400`` lists its 400 classes in alphabetical order, as PySlowFast does.
    """
    return read_labels(shipped("labels") / f"{name}.txt")


BUNDLED_MODEL = "edits"
BUNDLED_SAYS = (
    "the bundled model finds shots and edits, not contents: for your own classes, give a model "
    "(--model) or train one (vtnstream train)"
)


def bundled_model() -> Path:
    """Return the folder of the model that is used if none is named."""
    return shipped("bundled") / BUNDLED_MODEL
