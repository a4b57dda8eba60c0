"""An image-text model: its files, its image tower as a backbone, and its text vectors."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from torch import nn

from vtnstream.config.runtime import default_cache_dir
from vtnstream.errors import ModelError, UsageError
from vtnstream.features.key import video_identity
from vtnstream.models.backbone import SkipRandomInit, create_backbone
from vtnstream.models.io import hub, weights
from vtnstream.types import FloatArray
from vtnstream.words.cache import TextVectorCache
from vtnstream.words.folder import (
    CONFIG_FILE,
    PREPROCESS_FILES,
    WordsConfig,
    read_words_config,
    recognises,
)
from vtnstream.words.prompts import TEMPLATE_VERSION, prompts_of
from vtnstream.words.published import published_words
from vtnstream.words.queries import Label
from vtnstream.words.tensors import (
    INDEX_FILE,
    WEIGHTS_FILE,
    read_image_tower,
    read_projection,
    weight_files,
)
from vtnstream.words.vectors import unit

TOKENISER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
)


@dataclass(frozen=True)
class ImageTextModel:
    """A folder of transformers with an image and a text tower, which are loaded on demand.

    Attributes:
        name: the name that the user gave.
        folder: the folder of its files.
        config: its parsed configuration.
    """

    name: str
    folder: Path
    config: WordsConfig

    def image_tower(self) -> nn.Module:
        """The timm model of the image tower with its weights: frames to vectors before any
        projection, a backbone like others.

        Raises:
            CheckpointError: tensors are missing, unknown, misshapen or not finite.
        """
        state = read_image_tower(self.folder, self.config)
        with SkipRandomInit():
            backbone = create_backbone(self.config.backbone)
        weights.load_strictly(backbone, state, weight_files(self.folder)[0], assign=False)
        return backbone.eval()

    @property
    def image_tower_files(self) -> tuple[Path, ...]:
        """The files that decide the image tower's weights.

        Raises:
            CheckpointError: there are none, or one is missing.
        """
        return (*weight_files(self.folder), self.folder / CONFIG_FILE)

    @cached_property
    def projection(self) -> FloatArray | None:
        """(E, D) matrix from the backbone's features to the shared space, or None."""
        if not self.config.is_projected:
            return None
        matrix: FloatArray = read_projection(self.folder).numpy()
        if matrix.shape != (self.config.size, self.config.image_size):
            raise ModelError(
                f"{self.folder}: its projection is {matrix.shape[0]} x {matrix.shape[1]}, not "
                f"{self.config.size} x {self.config.image_size}: the towers do not belong together"
            )
        return matrix

    def project(self, features: FloatArray) -> FloatArray:
        """Project features (n, D) of the image tower to vectors (n, E) of the shared space."""
        return features if self.projection is None else features @ self.projection.T

    def label_vectors(
        self, labels: Sequence[Label], *, cache_dir: Path | None = None, use_cache: bool = True
    ) -> list[FloatArray]:
        """One unit vector (E,) for each label: the mean of its prompts' unit vectors.

        The text tower is loaded only for prompts whose vectors are not stored.

        Args:
            labels: each with prompts.
            cache_dir: where vectors are kept; None is the user's cache.
            use_cache: False neither reads nor keeps vectors.

        Raises:
            ModelError: the text tower cannot be loaded.
            UsageError: a prompt is too long.
        """
        wanted = dict.fromkeys(prompt for label in labels for prompt in prompts_of(label))
        known: dict[str, FloatArray] = {}
        cache = None
        if use_cache:
            folder = (cache_dir or default_cache_dir()) / "words"
            cache = TextVectorCache(folder, self._text_key(), self.config.size)
            known = cache.read(wanted)
        missing = [prompt for prompt in wanted if prompt not in known]
        if missing:
            from vtnstream.words.text import text_vectors

            made = dict(zip(missing, text_vectors(self.folder, self.config, missing), strict=True))
            known |= made
            if cache is not None:
                cache.write(made)
        return [
            unit(np.mean([known[prompt] for prompt in prompts_of(label)], axis=0)[None])[0]
            for label in labels
        ]

    def _text_key(self) -> str:
        """Return a hash of everything that determines a text vector: weights, tokeniser,
        templates.

        Files of weights are identified by their size and a hash of blocks spread over them.
        """
        parts: list[object] = [TEMPLATE_VERSION, self.config.family, self.config.max_tokens]
        for path in weight_files(self.folder):
            identity = video_identity(path)
            parts.append([path.name, identity.size_bytes, identity.blocks_sha256])
        for name in (CONFIG_FILE, *TOKENISER_FILES):
            path = self.folder / name
            if path.is_file():
                parts.append([name, hashlib.sha256(path.read_bytes()).hexdigest()])
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]


def open_words(name: str | Path) -> ImageTextModel | None:
    """The image-text model of a name; None where the name is of another kind of model.

    Args:
        name: a published name (``siglip2-base``), a folder of transformers, or a repository of
            the Hub as ``org/name[@revision]``.

    Raises:
        ModelError: it is not here, damaged, or lacks a tower.
    """
    text = os.fspath(name)
    path = Path(text).expanduser()
    if path.is_dir():
        if not recognises(path):
            return None
        return ImageTextModel(text, path, read_words_config(path))
    if path.exists():
        return None
    published = published_words().get(text)
    if published is not None:
        if not published.is_here:
            offline = "offline mode is on and " if hub.is_offline() else ""
            raise ModelError(
                f"{text}: {offline}it is not here yet ({published.source.size}, "
                f"{published.source.license}): {published.fetch_hint}"
            )
        folder = _fetch_all(published.hub_name(), f"; {published.fetch_hint} again", complete=True)
        return ImageTextModel(text, folder, read_words_config(folder))
    hub_name = hub.parse_hub_name(text)
    if hub_name is None:
        return None
    try:
        folder = hub.download(hub_name, CONFIG_FILE).parent
    except ModelError:
        return None  # whoever reads the other kinds says it
    if not recognises(folder):
        return None
    folder = _fetch_all(hub_name)
    return ImageTextModel(text, folder, read_words_config(folder))


def download_words(name: str) -> Path:
    """Download a published image-text model and record the commit that was downloaded.

    Raises:
        UsageError: there is no such model.
        ModelError: offline, refused, or incomplete.
        OutputError: the cache cannot be written.
    """
    published = published_words().get(name)
    if published is None:
        raise UsageError(f"no image-text model {name!r}: `vtnstream models list` names them")
    config = hub.download(published.hub_name(), CONFIG_FILE)
    commit = published.commit or _commit_of(config)
    pinned = hub.HubName(published.source.repository, commit)
    folder = _fetch_all(pinned, complete=published.is_here)
    read_words_config(folder)
    published.keep(commit)
    return folder


def _commit_of(path: Path) -> str:
    """Return the commit of a file in the Hub's cache: the name of its folder.

    Raises:
        ModelError: the commit cannot be determined.
    """
    commit = path.parent.name
    if len(commit) != 40 or set(commit) - set("0123456789abcdef"):
        raise ModelError(f"{path}: its commit is unknown, so it cannot be pinned")
    return commit


def _fetch_all(name: hub.HubName, hint: str = "", *, complete: bool = False) -> Path:
    """The folder of a repository with all that a model needs, from the cache where it is there.

    Args:
        name: repository and revision.
        hint: what to add to an error.
        complete: it was fetched before, so the files of its tokeniser are not asked for again:
            no repository has all of them.
    """
    try:
        folder = hub.download(name, CONFIG_FILE).parent
        hub.download_first(name, PREPROCESS_FILES)
        first = hub.download_first(name, (WEIGHTS_FILE, INDEX_FILE))
        if first.name == INDEX_FILE:
            from vtnstream.models.io.json_file import read_json

            for file in sorted(set(read_json(first).get("weight_map", {}).values())):
                hub.download(name, str(file))
        found = complete or [file for file in TOKENISER_FILES if _fetch_optional(name, file)]
    except ModelError as error:
        raise ModelError(f"{error}{hint}") from error
    if not found:
        raise ModelError(f"hf://{name}: has no files of a tokeniser{hint}")
    return folder


def _fetch_optional(name: hub.HubName, file: str) -> bool:
    """Return whether a repository has a file; if so, it is in the cache afterwards."""
    try:
        hub.download(name, file)
    except ModelError as error:
        if "no such file" in str(error) or "not in the cache" in str(error):
            return False
        raise
    return True
