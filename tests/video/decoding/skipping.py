"""Videos with frames that can be skipped, and the comparison of two passes over one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.synth import paint
from tests.video.reading import Reading
from vtnstream.types import DecodeSummary


def textured(number: int, width: int, height: int) -> np.ndarray:
    """Draw the board over moving noise, so that prediction matters."""
    noise = np.random.default_rng(number // 7).integers(-30, 30, (height, width, 3))
    noise = np.roll(noise, number % 7, axis=1)
    return np.clip(paint(number, width, height) + noise, 0, 255).astype(np.uint8)


def h264(**options: object) -> dict[str, str]:
    params = ":".join(f"{name.replace('_', '-')}={value}" for name, value in options.items())
    return {"preset": "veryfast", "x264-params": params}


def report(summary: DecodeSummary, *, parts: bool = False) -> DecodeSummary:
    """Return the summary without the number of decoded frames, which skipping reduces.

    ``parts``: one of two summaries is that of several parts, which read some packets twice and do
    not number the frames.
    """
    if parts:
        stats = replace(summary.stats, num_frames=0, num_packets=0)
        return replace(summary, stats=stats, frames=None)
    return replace(summary, stats=replace(summary.stats, num_frames=0))


def assert_same(some: Reading, other: Reading) -> None:
    assert len(some.chunks) == len(other.chunks)
    for a, b in zip(some.chunks, other.chunks, strict=True):
        assert (a.first_index, a.stop_index) == (b.first_index, b.stop_index)
        assert np.array_equal(a.frames, b.frames)
        for name in ("indices", "pts", "start_seconds", "end_seconds"):
            assert np.array_equal(getattr(a.times, name), getattr(b.times, name)), name
    parts = (some.summary.frames is None) != (other.summary.frames is None)
    assert report(some.summary, parts=parts) == report(other.summary, parts=parts)


def without_packets(reading: Reading) -> DecodeSummary:
    """Return the summary without packets: a pass that stops early has read ahead by the delay."""
    return replace(reading.summary, stats=replace(reading.summary.stats, num_packets=0))
