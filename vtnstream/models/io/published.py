"""Models that others have trained and published, listed in ``configs/published/*.toml``."""

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
    """The origin of published weights. Optional properties are None where unknown.

    Attributes:
        url: address of the checkpoint.
        license: in words, including what is not stated.
        labels: name of the list of its classes that vtnstream ships.
        dataset: training data.
        top1: published top-1 accuracy in percent.
        top5: published top-5 accuracy in percent.
        size_bytes: size of the checkpoint.
        sha256: hash of the checkpoint.
        sha256_from: source of the hash.
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
    """A published checkpoint and the config of the model it is imported as."""

    name: str
    config: ModelConfig
    source: Publication

    @property
    def folder(self) -> Path:
        """The model folder in the user's cache that ``vtnstream models download`` creates."""
        return default_cache_dir() / "models" / self.name

    @property
    def is_here(self) -> bool:
        """Whether the model has been downloaded; the folder is complete or absent."""
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
    """Return all published models by name."""
    return dict(_read())


def published_model(name: str) -> PublishedModel:
    """Return the published model of this name.

    Raises:
        UsageError: there is none; the message lists the names.
    """
    return lookup(_read(), name, "published model")
