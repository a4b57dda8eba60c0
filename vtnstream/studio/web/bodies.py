"""Bodies of requests and answers that only the routes use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vtnstream.studio.correcting.timeline import Action


@dataclass(frozen=True, slots=True)
class Change:
    """A correction: an action and the revision that it was made for.

    Fields other than ``revision`` and ``author`` are those of
    :class:`vtnstream.studio.correcting.timeline.Action`.
    """

    revision: int
    kind: Literal[
        "move", "relabel", "confirm", "add", "split", "merge", "delete", "check", "undo", "redo"
    ]
    ids: tuple[str, ...] = ()
    start: float | None = None
    end: float | None = None
    at: float | None = None
    label: str | None = None
    neighbour: bool = False
    checked: bool | None = None
    author: str | None = None

    def action(self) -> Action:
        return Action(
            self.kind,
            self.ids,
            self.start,
            self.end,
            self.at,
            self.label,
            self.neighbour,
            self.checked,
        )


@dataclass(frozen=True, slots=True)
class Label:
    """A label and the number of results that hold it."""

    label: str
    count: int


@dataclass(frozen=True, slots=True)
class Playing:
    """How the video of a result can be played: ``direct``, ``preview``, ``remux``, ``encode`` or
    ``none``, and the address of what can be played now."""

    way: str
    address: str


@dataclass(frozen=True, slots=True)
class About:
    """The server."""

    version: str
    formats: tuple[str, ...]
    author: str
    folders: tuple[str, ...]
