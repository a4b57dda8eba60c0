"""Weights that were hashed before, known by their files: a question over stored features then
builds no network.

The hash of a network's weights is part of the key of its features. It is kept below the user's
cache directory under the state of the files that the weights came from, and compared with the
network when one is built after all.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from vtnstream.config import BackboneConfig
from vtnstream.errors import ModelError, StoreError
from vtnstream.features.store import read_json, write_json

_SCHEMA = 1
"""Increased when tensors of a file are read into a network in another way."""


@dataclass(frozen=True, slots=True)
class KnownNetwork:
    """What is known of a network without building it.

    Attributes:
        weights_sha256: hash of its weights.
        num_features: D.
        weights_taken: what was taken of a wrapped checkpoint, in words.
    """

    weights_sha256: str
    num_features: int
    weights_taken: str = ""


class KnownNetworks:
    """What is known of networks by the state of their files: path, size, times and inode.

    Args:
        root: the user's cache directory.
        keep: False reads and stores nothing.
    """

    def __init__(self, root: Path, *, keep: bool = True) -> None:
        self._folder = root / "networks"
        self._keep = keep

    def key(self, files: Sequence[Path], config: BackboneConfig) -> str:
        """Name of the network whose weights are in ``files`` as they are now. It is taken before
        the files are read, so that files which change meanwhile are not mistaken.

        Raises:
            ModelError: a file is not there.
        """
        states = []
        for file in files:
            try:
                status = os.stat(file)
            except OSError as error:
                raise ModelError(f"{file}: {error.strerror}") from error
            state = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
            states.append([os.path.abspath(file), *state])
        libraries = [importlib.metadata.version(name) for name in ("timm", "vtnstream")]
        key = [_SCHEMA, libraries, config.name, config.key(), states]
        digest = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode())
        return digest.hexdigest()[:40]

    def get(self, key: str) -> KnownNetwork | None:
        """What is known of a network, or None."""
        found = read_json(self._folder / f"{key}.json") if self._keep else None
        try:
            return None if found is None else KnownNetwork(**found)
        except TypeError:  # written by another version
            return None

    def note(self, key: str, known: KnownNetwork) -> None:
        """Keep it; a cache that cannot be written costs only time."""
        if not self._keep:
            return
        with contextlib.suppress(OSError, StoreError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_json(self._folder / f"{key}.json", asdict(known))
