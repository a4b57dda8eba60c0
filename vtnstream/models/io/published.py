"""Models that others have trained and published: read from ``configs/published/*.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from vtnstream.config import ModelConfig
from vtnstream.config.loading import from_dict
from vtnstream.config.runtime import default_cache_dir
from vtnstream.config.shipped import shipped, shipped_labels
from vtnstream.errors import ConfigError
from vtnstream.registry import lookup


@dataclass(frozen=True, slots=True)
class Publication:
    """Where weights come from and what is known of them; None where nothing is.

    Attributes:
        url: the checkpoint.
        license: in words, with what is not stated.
        labels: list of its classes that comes with vtnstream.
        dataset: what it was trained on.
        top1: accuracy in percent as published.
        top5: the same.
        size_bytes: of the checkpoint.
        sha256: of the checkpoint.
        sha256_from: who says so.
    """

    url: str
    license: str
    labels: str
    dataset: str
    top1: float
    top5: float
    size_bytes: int | None = None
    sha256: str | None = None
    sha256_from: str = ""


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """A publication, and the config of the model that is made of it."""

    name: str
    config: ModelConfig
    source: Publication

    @property
    def folder(self) -> Path:
        """The model folder that ``vtnstream models download`` makes, in the user's cache."""
        return default_cache_dir() / "models" / self.name

    @property
    def is_here(self) -> bool:
        """Whether that folder is there; it stands whole or not at all."""
        return (self.folder / "config.json").is_file()


@cache
def _read() -> dict[str, PublishedModel]:
    found: dict[str, PublishedModel] = {}
    for path in sorted(shipped("published").glob("*.toml")):
        try:
            data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: not readable as TOML ({error})") from error
        source = from_dict(Publication, data.pop("source", {}), where=str(path))
        config = from_dict(ModelConfig, {"name": path.stem, **data}, where=str(path))
        head = replace(config.head, labels=shipped_labels(source.labels))
        config = replace(config, head=head)
        found[path.stem] = PublishedModel(path.stem, config, source)
    return found


def published_models() -> dict[str, PublishedModel]:
    """All of them by name."""
    return dict(_read())


def published_model(name: str) -> PublishedModel:
    """The published model of this name.

    Raises:
        UsageError: there is none; the message lists what there is.
    """
    return lookup(_read(), name, "published model")
