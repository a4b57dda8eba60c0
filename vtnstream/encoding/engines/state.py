"""Engines of one encoder that a process has already prepared or refused."""

from __future__ import annotations

from dataclasses import dataclass, field

from vtnstream.encoding.engines.build import Prepared


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
