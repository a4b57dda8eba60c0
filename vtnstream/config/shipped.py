"""Where the files of ``configs/`` lie: presets, label lists and the bundled model."""

from __future__ import annotations

from pathlib import Path


def shipped(kind: str) -> Path:
    """The folder ``configs/<kind>``: in an installed wheel beside the modules, in a checkout
    at its top."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs" / kind
    return installed if installed.is_dir() else package.parent / "configs" / kind


BUNDLED_MODEL = "edits"
BUNDLED_SAYS = (
    "the bundled model tells how a video is edited, not what it shows: for classes of your own "
    "name a model (--model) or make one (vtnstream train)"
)


def bundled_model() -> Path:
    """Folder of the model that answers where none is named."""
    return shipped("bundled") / BUNDLED_MODEL
