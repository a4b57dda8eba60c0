"""Image-text models with short names: repositories of the Hub, each pinned to one commit.

``configs/words/*.toml`` lists the repositories. If an entry has no commit, the first download
takes the newest one and records it in the cache; every later command uses the recorded commit.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vtnstream.atomic import whole_file
from vtnstream.config.loading import from_dict
from vtnstream.config.runtime import default_cache_dir
from vtnstream.config.shipped import shipped
from vtnstream.errors import ConfigError, ModelError
from vtnstream.models.io import hub

DEFAULT_WORDS = "siglip2-base"
"""The image-text model of commands that name none."""

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class WordsSource:
    """Origin of an image-text model.

    Attributes:
        repository: ``org/name`` on the Hub.
        license: licence of the weights.
        size: size of the download, as text.
        about: purpose of the model, as text.
        commit: 40 hex digits, or empty if the first download determines it.
    """

    repository: str
    license: str
    size: str
    about: str
    commit: str = ""


@dataclass(frozen=True, slots=True)
class PublishedWords:
    """An image-text model with a short name."""

    name: str
    source: WordsSource

    @property
    def record(self) -> Path:
        """The file that records the commit of the first download."""
        return default_cache_dir() / "words" / f"{self.name}.json"

    @property
    def commit(self) -> str | None:
        """The pinned commit; None before the first download.

        Raises:
            ModelError: the record is damaged.
        """
        if self.source.commit:
            return self.source.commit
        try:
            data = json.loads(self.record.read_text(encoding="utf-8"))
            found = str(data["commit"]) if data["repository"] == self.source.repository else ""
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{self.record}: damaged: remove it, {self.fetch_hint}") from error
        return found if _COMMIT.fullmatch(found) else None

    @property
    def is_here(self) -> bool:
        """Whether it has been downloaded."""
        return self.commit is not None and self.record.is_file()

    @property
    def fetch_hint(self) -> str:
        """The command that downloads it."""
        return f"`vtnstream models download {self.name}` fetches it"

    def keep(self, commit: str) -> None:
        """Record the commit of a finished download."""
        self.record.parent.mkdir(parents=True, exist_ok=True)
        data = {"repository": self.source.repository, "commit": commit}
        with whole_file(self.record) as file:
            file.write(json.dumps(data).encode())

    def hub_name(self, revision: str | None = None) -> hub.HubName:
        """Return its repository at the pinned commit, or at ``revision``."""
        return hub.HubName(self.source.repository, self.commit or revision)


@cache
def _read() -> dict[str, PublishedWords]:
    found: dict[str, PublishedWords] = {}
    for path in sorted(shipped("words").glob("*.toml")):
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: not readable as TOML ({error})") from error
        found[path.stem] = PublishedWords(path.stem, from_dict(WordsSource, data, where=str(path)))
    return found


def published_words() -> dict[str, PublishedWords]:
    """Return all of them by name."""
    return dict(_read())
