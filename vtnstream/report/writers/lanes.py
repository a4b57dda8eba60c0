"""Arrange overlapping segments in rows without overlaps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from vtnstream.report.terminal.glyphs import printable
from vtnstream.types import Segment


def tracks_of(segments: Iterable[Segment]) -> dict[str, list[Segment]]:
    """Group segments by track; a single track has no name."""
    tracks: dict[str, list[Segment]] = {}
    for segment in segments:
        tracks.setdefault(segment.track or "", []).append(segment)
    return tracks


def overlapping(segments: Iterable[Segment]) -> bool:
    """Return whether any two segments overlap."""
    ordered = sorted(segments, key=lambda s: s.start)
    return any(b.start < a.end for a, b in pairwise(ordered))


def lanes_of(segments: Iterable[Segment]) -> list[list[Segment]]:
    """Arrange segments in as few rows without overlaps as possible, each in order of time."""
    lanes: list[list[Segment]] = []
    for segment in sorted(segments, key=lambda s: (s.start, s.end)):
        free = next((lane for lane in lanes if lane[-1].end <= segment.start), None)
        if free is None:
            lanes.append([segment])
        else:
            free.append(segment)
    return lanes


def rows_of(segments: Sequence[Segment]) -> dict[str, list[Segment]]:
    """Arrange segments in named rows without overlaps.

    There is one row for each track, or for each label if segments overlap, and further rows if
    those of one label overlap. Names differ and are safe in any format.
    """
    rows: dict[str, list[Segment]] = {}
    for track, mine in tracks_of(segments).items():
        groups = {track or "segments": mine}
        if overlapping(mine):
            groups = {}
            for segment in mine:
                name = f"{track}: {segment.label}" if track else segment.label
                groups.setdefault(name, []).append(segment)
        for name, group in groups.items():
            for lane in lanes_of(group):
                rows[_free(name, rows)] = lane
    return rows


def _free(name: str, taken: Iterable[str]) -> str:
    name = printable(name) or "-"
    names, number, free = set(taken), 1, name
    while free in names:
        number += 1
        free = f"{name} ({number})"
    return free
