"""Where the files of ``configs/`` lie: presets and label lists that come with the package."""

from __future__ import annotations

from pathlib import Path


def shipped(kind: str) -> Path:
    """The folder ``configs/<kind>``: in an installed wheel beside the modules, in a checkout
    at its top."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs" / kind
    return installed if installed.is_dir() else package.parent / "configs" / kind
