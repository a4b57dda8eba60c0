"""Outputs of temporal models that are kept beside the features they were computed from.

    scores_<hash of the key>.safetensors

The key contains everything that decides the numbers, the features themselves included. A file
with a wrong checksum counts as missing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from vtnstream.errors import StoreError
from vtnstream.features.store import FeatureStore, publish
from vtnstream.types import FloatArray

MOST_BYTES = 64 * 2**20
"""Scores of longer videos are computed again instead: they take minutes only."""
_MOST_FILES = 8

ScoreKey = Mapping[str, Any]
"""JSON data: everything that decides the scores."""


def read_scores(store: FeatureStore, key: ScoreKey) -> dict[str, FloatArray] | None:
    """Return the stored arrays by name; None where there are none, or damaged ones."""
    path = _path(store, key)
    try:
        data = path.read_bytes()
        arrays = load(data)
        length = int.from_bytes(data[:8], "little")
        seal = json.loads(data[8 : 8 + length])["__metadata__"]["vtnstream"]
    except Exception:  # parsers raise many exceptions on damaged bytes
        return None
    return arrays if seal == _digest(arrays, key) else None


def write_scores(store: FeatureStore, key: ScoreKey, arrays: Mapping[str, FloatArray]) -> None:
    """Store arrays of float32 unless they are there or too large. The newest few are kept.

    An error is no failure of the run that has the scores: the next run computes them again.
    """
    path = _path(store, key)
    if path.exists() or sum(array.nbytes for array in arrays.values()) > MOST_BYTES:
        return
    plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with suppress(StoreError, OSError):
        publish(path, save(plain, metadata={"vtnstream": _digest(plain, key)}), durable=False)
        files = list(store.directory.glob("scores_*"))
        for old in sorted(files, key=lambda file: file.stat().st_mtime_ns)[:-_MOST_FILES]:
            old.unlink(missing_ok=True)


def _path(store: FeatureStore, key: ScoreKey) -> Path:
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return store.directory / f"scores_{name[:40]}.safetensors"


def _digest(arrays: Mapping[str, FloatArray], key: ScoreKey) -> str:
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
