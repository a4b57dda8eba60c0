"""Running counts of what decoding meets."""

from __future__ import annotations

from dataclasses import fields

from vtnstream.types import DecodeStats

_HOPELESS_ERRORS = 300

_COUNTS = tuple(field.name for field in fields(DecodeStats))


class Tally:
    """Running counts of what :class:`DecodeStats` names.

    ``total`` is since the last :meth:`reset`, ``lifetime`` since the beginning (or
    :meth:`forget`).
    """

    def __init__(self) -> None:
        self._counts = dict.fromkeys(_COUNTS, 0)
        self._at_reset = dict(self._counts)
        self._at_take = dict(self._counts)

    def count(self, name: str) -> None:
        """One more of ``name``."""
        self._counts[name] += 1

    def take(self) -> DecodeStats:
        """What came since the last call, or reset."""
        stats = self._since(self._at_take)
        self._at_take = dict(self._counts)
        return stats

    def reset(self) -> None:
        """Forget what came before the part that is wanted."""
        self._at_reset = self._at_take = dict(self._counts)

    def forget(self) -> None:
        """Begin anew, ``lifetime`` too."""
        self._counts = dict.fromkeys(_COUNTS, 0)
        self.reset()

    @property
    def total(self) -> DecodeStats:
        return self._since(self._at_reset)

    @property
    def lifetime(self) -> DecodeStats:
        return DecodeStats(**self._counts)

    @property
    def is_hopeless(self) -> bool:
        """Far more errors than frames: encrypted, or no video at all."""
        errors, frames = self._counts["num_packet_errors"], self._counts["num_frames"]
        return errors > _HOPELESS_ERRORS and errors > 10 * frames

    def _since(self, before: dict[str, int]) -> DecodeStats:
        return DecodeStats(**{name: n - before[name] for name, n in self._counts.items()})
