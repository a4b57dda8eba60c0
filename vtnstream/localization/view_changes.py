"""Measure how much consecutive frames of a video differ, on their thumbnails.

A network trained on composed videos is unsure about cuts within one scene, which differences of
frames reveal; differences in turn are ambiguous for flashes, motion and slow transitions. Events
of a timeline (:mod:`vtnstream.localization.events`) therefore depend on both.

The change is the difference that remains after brightness and contrast of each colour are matched,
so that a step of exposure is none. It is compared with its neighbours as in PySceneDetect's
``detect-adaptive``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from vtnstream.types import FloatArray, SecondsArray

_NEIGHBOURS = 2
"""Number of frames on each side with which a difference is compared."""
_WIDE_SECONDS = 0.25
_FLASH_SECONDS = 0.2
_COARSE = 2
"""Factor by which thumbnails are reduced in each direction to views."""
_CONTEXT = 64
_BLOCK = 1024
_LEAST_DIFFERENCE = 0.5
_CLEAR = 6.0
_GAINS = (0.4, 2.5)
"""Changes of contrast that are matched."""
_VARIANCE = 4.0
"""Variance of a colour below which its contrast is noise."""
_LUMA = (0.299, 0.587, 0.114)
_NOISE = 16.0
"""Variance, of the sum of two frames, below which a frame has no features to correlate."""
_TOLERANCE = 12.0
"""Difference, of 255, by which motion and noise may move a colour out of the range between two."""


@dataclass(frozen=True, slots=True, eq=False)
class ViewChanges:
    """Changes at each of T frames of a gap-free run; differences are of 255.

    Attributes:
        change: (T,) mean difference from the previous frame, whose brightness and contrast are
            matched in each colour.
        ratio: (T,) ``change`` over the mean of its neighbours.
        standout: (T,) ``change`` over the largest within a quarter of a second.
        lasting: (T,) smaller of two colour differences: the least between the previous frame and
            the frames of the next fifth of a second, and the least between the frame and those of
            the previous fifth. It is small at both ends of a flash.
        step: (T,) colour difference from the previous frame.
        spread: (T,) share of positions that differ by more than 6 from the previous frame.
        likeness: (T,) correlation of brightness between the two frames before this one and the two
            from it on. A step of exposure leaves it near 1.
        brightest: (T,) highest value in the thumbnail.
        views: (T, P) uint8 coarse colours of the frame.
    """

    change: FloatArray
    ratio: FloatArray
    standout: FloatArray
    lasting: FloatArray
    step: FloatArray
    spread: FloatArray
    likeness: FloatArray
    brightest: FloatArray
    views: np.ndarray[tuple[int, int], np.dtype[np.uint8]]

    def __len__(self) -> int:
        return len(self.change)

    def __getitem__(self, part: slice) -> ViewChanges:
        return ViewChanges(*(getattr(self, field.name)[part] for field in fields(self)))

    def between(self, first: int, stop: int, around: int = 4) -> float:
        """Return the mean difference, of 255, between the ``around`` frames before ``first`` and
        those from ``stop`` on; 255 if there are none on one side."""
        before, after = self.views[max(first - around, 0) : first], self.views[stop : stop + around]
        if not len(before) or not len(after):
            return 255.0
        return float(np.abs(before.mean(0) - after.mean(0)).mean())

    def added_colors(self, first: int, stop: int, around: int = 3) -> float:
        """Return the share of colours in the frames ``[first, stop)`` that lie outside the range
        between the ``around`` frames before and after; 0 if there are none on one side."""
        before, after = self.views[max(first - around, 0) : first], self.views[stop : stop + around]
        if not len(before) or not len(after):
            return 0.0
        ends = np.stack((before.mean(0), after.mean(0)))
        inside = self.views[first:stop]
        low, high = ends.min(0) - _TOLERANCE, ends.max(0) + _TOLERANCE
        return float(((inside < low) | (inside > high)).mean())


def measure(
    blocks: Iterable[FloatArray], times: SecondsArray, grid: tuple[int, int]
) -> ViewChanges:
    """Measure the frames of one gap-free run.

    Args:
        blocks: consecutive thumbnails (n, 3 x rows x columns), T in all, with values from 0 to 255.
        times: (T,) start of the frames in seconds.
        grid: rows and columns.
    """
    wide, flash = _reach(times, _WIDE_SECONDS), _reach(times, _FLASH_SECONDS, least=0)
    parts: list[ViewChanges] = []
    held = np.empty((0, 3 * grid[0] * grid[1]), np.float32)
    begin = 0  # leading rows of ``held`` that were measured before and serve as context
    for block in blocks:
        held = np.concatenate((held, block))
        if len(held) - begin < _BLOCK:
            continue
        stop = len(held) - _CONTEXT
        parts.append(_measured(held, grid, wide, flash)[begin:stop])
        keep = max(stop - _CONTEXT, 0)
        held, begin = held[keep:], stop - keep
    parts.append(_measured(held, grid, wide, flash)[begin:])
    return _joined(parts)


def _reach(times: SecondsArray, seconds: float, least: int = _NEIGHBOURS) -> int:
    """Return the number of frames in ``seconds``, by the median frame interval."""
    usual = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    return int(np.clip(int(seconds / max(usual, 1e-3) + 1e-6), least, _CONTEXT // 2 - 2))


def _measured(thumbs: FloatArray, grid: tuple[int, int], wide: int, flash: int) -> ViewChanges:
    rows, columns = grid
    colours = thumbs.reshape(len(thumbs), 3, rows, columns)
    change = _change(colours)
    around = np.maximum(_largest_around(change, wide), np.float32(_LEAST_DIFFERENCE))
    return ViewChanges(
        change=change,
        ratio=_ratio(change),
        standout=np.asarray(change / around, np.float32),
        lasting=_lasting(thumbs, flash),
        step=_steps(thumbs),
        spread=_spread(thumbs),
        likeness=_likeness(colours),
        brightest=colours.max(axis=(1, 2, 3), initial=0.0),
        views=_views(colours),
    )


def _change(colours: FloatArray) -> FloatArray:
    """Return the (T,) mean absolute difference from the previous frame, each colour of which is
    scaled and shifted to fit best.

    Args:
        colours: (T, 3, h, w) RGB from 0 to 255.
    """
    count, channels = colours.shape[:2]
    found = np.zeros(count, np.float32)
    if count < 2:
        return found
    centred = colours.reshape(count, channels, -1)
    centred = centred - centred.mean(axis=2, keepdims=True)
    before, after = centred[:-1], centred[1:]
    power = (before * before).mean(axis=2, keepdims=True) + _VARIANCE
    gain = np.clip((before * after).mean(axis=2, keepdims=True) / power, *_GAINS)
    found[1:] = np.abs(after - gain * before).mean(axis=(1, 2))
    return found


def _steps(thumbs: FloatArray) -> FloatArray:
    found = np.zeros(len(thumbs), np.float32)
    found[1:] = np.abs(np.diff(thumbs, axis=0)).mean(axis=1)
    return found


def _spread(thumbs: FloatArray) -> FloatArray:
    """Return the (T,) share of positions that differ clearly from the previous frame."""
    places = thumbs.shape[1] // 3
    found = np.zeros(len(thumbs), np.float32)
    differences = np.abs(np.diff(thumbs, axis=0)).reshape(-1, 3, places).mean(axis=1)
    found[1:] = (differences > _CLEAR).mean(axis=1)
    return found


def _likeness(colours: FloatArray) -> FloatArray:
    """Return the (T,) correlation of brightness between two frames before and two from each frame
    on.

    It is near 0 for frames without features.

    Args:
        colours: (T, 3, h, w).
    """
    count = len(colours)
    luma = np.tensordot(colours, np.asarray(_LUMA, np.float32), axes=(1, 0))
    luma = luma.reshape(count, luma.shape[1] * luma.shape[2])
    at = np.arange(count)
    before = luma[np.maximum(at - 2, 0)] + luma[np.maximum(at - 1, 0)]
    after = luma + luma[np.minimum(at + 1, count - 1)]
    before -= before.mean(axis=1, keepdims=True)
    after -= after.mean(axis=1, keepdims=True)
    floor = _NOISE * luma.shape[1]
    powers = [(part * part).sum(axis=1) + floor for part in (before, after)]
    return np.asarray((before * after).sum(axis=1) / np.sqrt(powers[0] * powers[1]), np.float32)


def _ratio(content: FloatArray) -> FloatArray:
    """Return each difference over the mean of its neighbours; at the ends there are fewer
    neighbours."""
    sums = np.zeros_like(content)
    counts = np.zeros_like(content)
    for lag in range(1, _NEIGHBOURS + 1):
        sums[lag:] += content[:-lag]
        counts[lag:] += 1
        sums[:-lag] += content[lag:]
        counts[:-lag] += 1
    means = sums / np.maximum(counts, 1)
    return np.asarray(content / np.maximum(means, _LEAST_DIFFERENCE / 4), np.float32)


def _largest_around(content: FloatArray, reach: int) -> FloatArray:
    """Return the largest difference within ``reach`` frames, without the frame and its direct
    neighbours, because a cut is often followed by one repeated frame."""
    found = np.zeros_like(content)
    for lag in range(_NEIGHBOURS, reach + 1):
        found[lag:] = np.maximum(found[lag:], content[:-lag])
        found[:-lag] = np.maximum(found[:-lag], content[lag:])
    return found


def _lasting(thumbs: FloatArray, reach: int) -> FloatArray:
    """Return the least colour difference between frame t - 1 and t ... t + ``reach``, and between
    frame t and t - 1 - ``reach`` ... t - 1: it is small where a flash begins and where it ends."""
    found = np.full(len(thumbs), 255.0, np.float32)
    for lag in range(min(reach, len(thumbs) - 2) + 1):
        gone = np.abs(thumbs[1 + lag :] - thumbs[: len(thumbs) - 1 - lag]).mean(axis=1)
        for begin in (1, 1 + lag):
            part = found[begin : begin + len(gone)]
            np.minimum(part, gone, out=part)
    return found


def _views(colours: FloatArray) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    count, channels, rows, columns = colours.shape
    down = _COARSE if rows % _COARSE == 0 else 1
    across = _COARSE if columns % _COARSE == 0 else 1
    cells = colours.reshape(count, channels, rows // down, down, columns // across, across)
    means = cells.mean(axis=(3, 5)).reshape(count, channels * (rows // down) * (columns // across))
    return np.asarray(np.round(means).clip(0, 255), np.uint8)


def _joined(parts: list[ViewChanges]) -> ViewChanges:
    names = [field.name for field in fields(ViewChanges)]
    return ViewChanges(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
