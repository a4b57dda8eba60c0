"""Feature files, which ``vtnstream extract VIDEO -o F.safetensors`` writes.

The suffix decides the format. ``.npy`` is the array ``features`` alone and ``.npz`` has
``features``, ``start_seconds`` and ``end_seconds``, both for numpy. Only ``.safetensors`` has
everything that ``--features`` needs:

Arrays: ``features`` (T, D) float32, ``indices`` and ``pts`` (T,) int64, ``start_seconds`` and
``end_seconds`` (T,) float64. Metadata (JSON under ``vtnstream``): time base, sampling,
preprocessing, backbone with its arguments, hashes. Files are written and read block by block, so
that they may be larger than memory.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open

from vtnstream.atomic import whole_file
from vtnstream.errors import FeatureError, OutputError, UsageError
from vtnstream.types import FeatureSequence, FloatArray, TokenTimes

_BLOCK = 1024
_TIMES = ("indices", "pts", "start_seconds", "end_seconds")
_DTYPE_NAMES = {"float32": "F32", "float64": "F64", "int64": "I64"}
FEATURE_SUFFIXES = (".safetensors", ".npy", ".npz")
"""Suffixes of the formats that :func:`write_features` writes."""


def check_suffix(path: str | Path) -> None:
    """Check that features can be written in the format that a suffix names.

    Raises:
        UsageError: the suffix is unknown.
    """
    if Path(path).suffix.lower() not in FEATURE_SUFFIXES:
        known = f"{', '.join(FEATURE_SUFFIXES[:-1])} or {FEATURE_SUFFIXES[-1]}"
        raise UsageError(f"{path}: features are written to {known} files: choose one of these")


def write_features(
    path: str | Path,
    features: FeatureSequence,
    metadata: Mapping[str, Any],
    *,
    before_rename: Callable[[Path], None] | None = None,
) -> None:
    """Write a feature file atomically, block by block, in the format that its suffix names.

    Raises:
        UsageError: the suffix is unknown.
        OutputError: the file cannot be written; no partial file is left.
    """
    path = Path(path)
    check_suffix(path)
    try:
        with whole_file(path, before_rename) as file:
            if path.suffix.lower() == ".npy":
                _write_npy(file, features)
            elif path.suffix.lower() == ".npz":
                _write_npz(file, features)
            else:
                _write_safetensors(file, features, metadata)
    except OSError as error:
        raise OutputError(f"{path}: features cannot be written ({error.strerror})") from error


def _shape(features: FeatureSequence) -> tuple[int, int]:
    return len(features.times), features.num_features


def _write_safetensors(
    file: BinaryIO, features: FeatureSequence, metadata: Mapping[str, Any]
) -> None:
    times = {name: getattr(features.times, name) for name in _TIMES}
    shape, digest = _shape(features), hashlib.sha256()
    header = _header(times, shape, {**metadata, "sha256": "0" * 64})
    file.write(len(header).to_bytes(8, "little"))
    file.write(header)
    for array in chain(times.values(), features.blocks(_BLOCK)):
        data = np.ascontiguousarray(array).tobytes()
        digest.update(data)
        file.write(data)
    # Now the checksum is known, which is as long as the zeros in its place.
    file.seek(8)
    file.write(_header(times, shape, {**metadata, "sha256": digest.hexdigest()}))


def _write_npy(file: IO[bytes], features: FeatureSequence) -> None:
    """Write the array (T, D) float32 in the format of ``numpy.save``."""
    header = {"descr": "<f4", "fortran_order": False, "shape": _shape(features)}
    np.lib.format.write_array_header_1_0(file, header)
    for block in features.blocks(_BLOCK):
        file.write(np.ascontiguousarray(block, "<f4").tobytes())


def _write_npz(file: BinaryIO, features: FeatureSequence) -> None:
    """Write features (T, D) float32 and their times (T,) float64, in seconds, in the format of
    ``numpy.savez``."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        with archive.open("features.npy", "w", force_zip64=True) as member:
            _write_npy(member, features)
        for name in ("start_seconds", "end_seconds"):
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, getattr(features.times, name))


def _digest(times: Mapping[str, Any], features: FeatureSequence) -> str:
    """Return the hex SHA-256 of the times and the features, in the order of the file."""
    digest = hashlib.sha256()
    for array in chain(times.values(), features.blocks(_BLOCK)):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _header(times: Mapping[str, Any], shape: tuple[int, int], metadata: Mapping[str, Any]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": {"vtnstream": json.dumps(metadata, sort_keys=True)}}
    offset = 0
    for name, array in times.items():
        entries[name] = _entry(_DTYPE_NAMES[array.dtype.name], array.shape, offset, array.nbytes)
        offset += array.nbytes
    entries["features"] = _entry("F32", shape, offset, 4 * shape[0] * shape[1])
    text = json.dumps(entries, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)  # the format aligns arrays to 8 bytes


def _entry(dtype: str, shape: tuple[int, ...], offset: int, size: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}


class FeatureFile:
    """A :class:`vtnstream.types.FeatureSequence` read from a feature file.

    Raises:
        FeatureError: the file is no feature file, or it is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            with safe_open(self.path, framework="np") as file:
                metadata = (file.metadata() or {}).get("vtnstream")
                arrays = {name: file.get_tensor(name) for name in _TIMES}
                shape = file.get_slice("features").get_shape()
        except (OSError, SafetensorError, KeyError) as error:
            raise FeatureError(
                f"{path}: not a feature file ({error}); "
                "make one with vtnstream extract VIDEO -o FILE.safetensors"
            ) from error
        if metadata is None or len(shape) != 2 or shape[0] != len(arrays["pts"]):
            raise FeatureError(f"{path}: not a feature file of vtnstream extract")
        self.metadata: dict[str, Any] = json.loads(metadata)
        self._times = TokenTimes(**arrays)
        self._num_features = int(shape[1])
        if self.metadata.get("sha256") != _digest(arrays, self):
            raise FeatureError(f"{path}: the file is damaged (checksum): extract it again")

    def __repr__(self) -> str:
        return f"FeatureFile(({len(self._times)}, {self._num_features}), {self._times!r})"

    @property
    def times(self) -> TokenTimes:
        return self._times

    @property
    def num_features(self) -> int:
        return self._num_features

    def blocks(self, size: int) -> Iterator[FloatArray]:
        with safe_open(self.path, framework="np") as file:
            values = file.get_slice("features")
            for start in range(0, len(self._times), size):
                block: FloatArray = values[start : min(start + size, len(self._times))]
                yield block


class FeatureSpan:
    """The tokens of a feature sequence at grid positions ``[first_index, stop_index)``; None as
    ``stop_index`` means its end."""

    def __init__(self, whole: FeatureSequence, first_index: int, stop_index: int | None) -> None:
        indices = whole.times.indices
        low = np.searchsorted(indices, first_index)
        high = len(indices) if stop_index is None else np.searchsorted(indices, stop_index)
        self._whole = whole
        self._low, self._high = int(low), int(high)
        self._times = whole.times[self._low : self._high]

    @property
    def times(self) -> TokenTimes:
        return self._times

    @property
    def num_features(self) -> int:
        return self._whole.num_features

    def blocks(self, size: int) -> Iterator[FloatArray]:
        position = 0
        for block in self._whole.blocks(size):
            low = max(0, self._low - position)
            high = min(len(block), self._high - position)
            if high > low:
                yield block[low:high]
            position += len(block)
