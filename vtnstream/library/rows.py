"""Rows of the tables of a library, and their Arrow schemas: the only file that imports pyarrow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from vtnstream.optional import require
from vtnstream.types import FloatArray, SecondsArray, TokenTimes

EXTRA = "library"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class LibraryAbout:
    """What the vectors of a library are.

    Attributes:
        model: name of the model, as ``--model`` takes it; empty where a backbone was named.
        weights_sha256: hash of the weights that read the frames.
        size: E, numbers of a vector.
        sampling: which frames, as JSON.
        schema: version of the tables.
    """

    model: str
    weights_sha256: str
    size: int
    sampling: str
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True)
class VideoRow:
    """One video of a library.

    Attributes:
        path: absolute, or its address.
        batch: which rows of ``vectors`` are its own.
        state: where and when the file was read, as JSON.
        identity: size and block hash of its content.
        tokens: number of vectors.
        near, far: see :class:`vtnstream.words.vectors.FrameStatistics`; NaN for a single frame.
        report: its report without an answer, as JSON.
    """

    path: str
    batch: str
    state: str
    identity: str
    tokens: int
    near: float
    far: float
    report: str


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """Frames of a library near a vector.

    Attributes:
        vectors: (n, E) float32.
        batches: n numbers of batches.
        starts, ends: (n,) seconds of the source.
    """

    vectors: FloatArray
    batches: tuple[str, ...]
    starts: SecondsArray
    ends: SecondsArray


def schemas(size: int) -> Mapping[str, Any]:
    """Return the Arrow schema of each table, for vectors of ``size`` numbers."""
    arrow = require("pyarrow", EXTRA)
    text, real, whole = arrow.string(), arrow.float64(), arrow.int64()
    kinds = {"str": text, "float": real, "int": whole}
    return {
        "vectors": arrow.schema(
            [
                ("vector", arrow.list_(arrow.float16(), size)),
                ("batch", text),
                ("start", real),
                ("end", real),
            ]
        ),
        "videos": arrow.schema([(f.name, kinds[str(f.type)]) for f in fields(VideoRow)]),
        "pending": arrow.schema([("batch", text), ("path", text), ("started", real)]),
    }


def vector_rows(vectors: FloatArray, batch: str, starts: SecondsArray, ends: SecondsArray) -> Any:
    """Return an Arrow table of vectors (n, E) of one video, with their times."""
    arrow = require("pyarrow", EXTRA)
    flat = arrow.array(np.ascontiguousarray(vectors, np.float16).ravel(), arrow.float16())
    return arrow.table(
        {
            "vector": arrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
            "batch": [batch] * len(vectors),
            "start": starts,
            "end": ends,
        }
    )


def token_times(starts: SecondsArray, ends: SecondsArray) -> TokenTimes:
    """Return the times of a video's frames; a gap is a frame that ends before the next starts."""
    indices = np.arange(len(starts), dtype=np.int64)
    return TokenTimes(indices, indices.copy(), starts, ends)
