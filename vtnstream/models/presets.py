"""Presets: the variants of the papers, read from ``configs/models/*.toml``."""

from __future__ import annotations

import tomllib
from functools import cache

from vtnstream.config import ModelConfig
from vtnstream.config.loading import from_dict
from vtnstream.config.shipped import shipped
from vtnstream.errors import ConfigError
from vtnstream.registry import lookup

ALIASES = {"vtn-vit-b-3l": "vtn-vit-b"}


@cache
def _read() -> dict[str, ModelConfig]:
    found: dict[str, ModelConfig] = {}
    for path in sorted(shipped("models").glob("*.toml")):
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: not readable as TOML ({error})") from error
        found[path.stem] = from_dict(ModelConfig, {"name": path.stem, **data}, where=str(path))
    return found


def presets() -> dict[str, ModelConfig]:
    """Return all presets by name: configs without labels, for untrained models."""
    return dict(_read())


def is_preset(name: str) -> bool:
    """Return whether ``name`` is a preset or an alias of one."""
    return ALIASES.get(name, name) in _read()


def preset(name: str) -> ModelConfig:
    """Return the preset of this name or alias.

    Raises:
        UsageError: there is none; the message lists the names.
    """
    return lookup(_read(), ALIASES.get(name, name), "preset")
