"""Where the files of ``configs/`` lie: presets, label lists and the bundled model."""

from __future__ import annotations

from pathlib import Path

from vtnstream.labels import read_labels


def shipped(kind: str) -> Path:
    """The folder ``configs/<kind>``: in an installed wheel beside the modules, in a checkout
    at its top."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs" / kind
    return installed if installed.is_dir() else package.parent / "configs" / kind


def shipped_labels(name: str) -> tuple[str, ...]:
    """The label list of this name that comes with the package, such as ``kinetics-400``: its
    400 classes in alphabetical order, which is that of PySlowFast's lists."""
    return read_labels(shipped("labels") / f"{name}.txt")


BUNDLED_MODEL = "edits"
BUNDLED_SAYS = (
    "the bundled model tells how a video is edited, not what it shows: for classes of your own "
    "name a model (--model) or make one (vtnstream train)"
)


def bundled_model() -> Path:
    """Folder of the model that answers where none is named."""
    return shipped("bundled") / BUNDLED_MODEL
