"""Counters of packets, frames and errors during decoding."""

from __future__ import annotations

from dataclasses import fields

from vtnstream.types import DecodeStats

_MANY_ERRORS = 300

_COUNTS = tuple(field.name for field in fields(DecodeStats))


class DecodeCounters:
    """Counts what :class:`DecodeStats` describes.

    ``total`` counts since the last :meth:`reset`, ``lifetime`` since the beginning or the last
    :meth:`forget`.
    """

    def __init__(self) -> None:
        self._counts = dict.fromkeys(_COUNTS, 0)
        self._at_reset = dict(self._counts)
        self._at_take = dict(self._counts)

    def count(self, name: str) -> None:
        """Increase the counter ``name`` by one."""
        self._counts[name] += 1

    def take(self) -> DecodeStats:
        """Return the counts since the last call or reset."""
        stats = self._since(self._at_take)
        self._at_take = dict(self._counts)
        return stats

    def reset(self) -> None:
        """Restart ``total`` and :meth:`take` (at the start of the requested part)."""
        self._at_reset = self._at_take = dict(self._counts)

    def forget(self) -> None:
        """Restart all counts, including ``lifetime``."""
        self._counts = dict.fromkeys(_COUNTS, 0)
        self.reset()

    @property
    def total(self) -> DecodeStats:
        return self._since(self._at_reset)

    @property
    def lifetime(self) -> DecodeStats:
        return DecodeStats(**self._counts)

    @property
    def num_packet_errors(self) -> int:
        """The packets of ``lifetime`` that could not be read or decoded. This is asked for every
        packet, for which ``lifetime`` is slow."""
        return self._counts["num_packet_errors"]

    @property
    def is_unusable(self) -> bool:
        """Whether there are far more errors than frames: the stream is encrypted or no video."""
        errors, frames = self._counts["num_packet_errors"], self._counts["num_frames"]
        return errors > _MANY_ERRORS and errors > 10 * frames

    def _since(self, before: dict[str, int]) -> DecodeStats:
        return DecodeStats(**{name: n - before[name] for name, n in self._counts.items()})
