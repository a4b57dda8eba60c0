"""One immutable file of the feature store: the tokens of one part of the sampling grid.

A chunk is a safetensors file, which other programs can read. A checksum over its contents detects
damaged bytes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from vtnstream.errors import StoreError
from vtnstream.types import DecodeStats, FloatArray, TokenTimes

_ARRAYS = ("features", "indices", "pts", "start_seconds", "end_seconds")


@dataclass(frozen=True, slots=True, eq=False)
class StoredChunk:
    """Features of the tokens at grid positions ``[first_index, stop_index)``.

    Attributes:
        values: (T, D) float32.
        times: times of the T tokens.
        stats: decoding errors. Counts that depend on where decoding began (packets, frames) are
            left out, so that a resumed run stores the same bytes.
        sha256: checksum of the contents; it is made where it is not given.
    """

    first_index: int
    stop_index: int
    values: FloatArray
    times: TokenTimes
    stats: DecodeStats
    sha256: str = ""

    def __post_init__(self) -> None:
        if not self.sha256:
            object.__setattr__(self, "sha256", _digest(self._arrays(), self._facts()))

    def to_bytes(self) -> bytes:
        seal = {"facts": self._facts(), "sha256": self.sha256}
        # One metadata entry only, because safetensors writes several in no fixed order.
        return save(self._arrays(), metadata={"vtnstream": json.dumps(seal, sort_keys=True)})

    def _arrays(self) -> dict[str, np.ndarray]:
        return {
            "features": np.ascontiguousarray(self.values),
            "indices": self.times.indices,
            "pts": self.times.pts,
            "start_seconds": self.times.start_seconds,
            "end_seconds": self.times.end_seconds,
        }

    def _facts(self) -> str:
        facts = {
            "first_index": self.first_index,
            "stop_index": self.stop_index,
            "num_packet_errors": self.stats.num_packet_errors,
            "num_corrupt": self.stats.num_corrupt,
            "num_dropped": self.stats.num_dropped,
        }
        return json.dumps(facts, sort_keys=True)

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> StoredChunk:
        """Read a chunk.

        Raises:
            StoreError: the bytes are damaged.
        """
        try:
            arrays = {key: value for key, value in load(data).items() if key in _ARRAYS}
            length = int.from_bytes(data[:8], "little")
            seal = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["vtnstream"])
            facts: dict[str, Any] = json.loads(seal["facts"])
            if seal["sha256"] != _digest(arrays, seal["facts"]):
                raise ValueError("checksum differs")
            times = TokenTimes(**{key: arrays[key] for key in _ARRAYS[1:]})
            first, stop = facts.pop("first_index"), facts.pop("stop_index")
            return cls(first, stop, arrays["features"], times, DecodeStats(**facts), seal["sha256"])
        except Exception as error:  # parsers raise many exceptions on damaged bytes
            raise StoreError(f"{name}: damaged feature chunk ({error})") from error


def persistent_stats(stats: DecodeStats) -> DecodeStats:
    """Return ``stats`` without the counts that depend on where decoding began."""
    return DecodeStats(
        **{key: value for key, value in asdict(stats).items() if key not in _POSITION_DEPENDENT}
    )


_POSITION_DEPENDENT = ("num_packets", "num_frames")


def _digest(arrays: dict[str, Any], facts: str) -> str:
    digest = hashlib.sha256(facts.encode())
    for name in _ARRAYS:
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
