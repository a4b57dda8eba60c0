"""What is chosen and prepared to encode frames; independent of the library that computes."""

from __future__ import annotations

from dataclasses import dataclass, field

from vtnstream.encoding.worker_pool import BatchEncoder
from vtnstream.errors import EngineError


class SlowerError(EngineError):
    """The engine is correct and no faster than the uncompiled network."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Name of a backend and one clause that gives the reason.

    ``on_trial``: the uncompiled network replaces it if it turns out to be no faster.
    """

    backend: str
    reason: str
    on_trial: bool = False


@dataclass(frozen=True, slots=True)
class Speed:
    """Frames per second of one worker, and the seconds that building the engine still takes."""

    frames_per_second: float
    compile_seconds: float


@dataclass(frozen=True, slots=True)
class Prepared:
    """A checked runner with figures for the report: seconds of compiling, difference from the
    uncompiled network, frames per second of one worker with and without the engine."""

    run: BatchEncoder
    facts: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class EngineState:
    """Engines of one encoder that this process has prepared or refused.

    The owner of the encoder keeps the state from video to video, so that an engine is compared
    and timed once.

    Attributes:
        ready: engines that equal the uncompiled network, by backend and batch size.
        refused: backends that cannot be used, with the reason.
        num_encoded: frames encoded so far.
    """

    ready: dict[tuple[str, int], Prepared] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    num_encoded: int = 0
