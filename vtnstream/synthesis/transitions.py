"""Gradual transitions between two shots. Every frame of a transition mixes both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vtnstream.synthesis.shots import HEIGHT, WIDTH, Frames

Shares = NDArray[np.float32]


def _shares(length: int) -> Shares:
    """Return the share of the new shot in each of ``length`` frames, between 0 and 1."""
    return (np.arange(1, length + 1) / (length + 1)).astype(np.float32)


def _eased(shares: Shares) -> Shares:
    return shares * shares * (3 - 2 * shares)


def _mixed(before: Frames, after: Frames, masks: Shares) -> Frames:
    """Mix the new shot over the old one by masks (T, 1 or 64, 1 or 96, 1)."""
    a, b = before.astype(np.float32), after.astype(np.float32)
    return (a + (b - a) * masks).clip(0, 255).astype(np.uint8)


def black(count: int, random: np.random.Generator) -> Frames:
    """Return frames of one flat colour: nearly black, sometimes white."""
    level = 245 if random.random() < 0.12 else int(random.integers(0, 18))
    return np.full((count, HEIGHT, WIDTH, 3), level, np.uint8)


def fade_to(frames: Frames, flat: Frames, random: np.random.Generator) -> Frames:
    """Fade a shot to one flat frame."""
    shares = _shares(len(frames))
    if random.random() < 0.3:
        shares = _eased(shares)
    return _mixed(frames, np.broadcast_to(flat, frames.shape), shares[:, None, None, None])


def dissolve(before: Frames, after: Frames, random: np.random.Generator) -> Frames:
    """Dissolve one shot into another: evenly, eased, or in single blocks of pixels.

    Args:
        before: (T, 64, 96, 3) of the old shot.
        after: as many frames of the new one.
        random: draws the form.
    """
    shares = _shares(len(before))
    form = random.random()
    if form < 0.3:
        shares = _eased(shares)
    if form < 0.92:
        return _mixed(before, after, shares[:, None, None, None])
    size = int(random.choice([1, 2, 4]))
    order = random.random((HEIGHT // size, WIDTH // size)).repeat(size, 0).repeat(size, 1)
    return _mixed(before, after, (order[None] < shares[:, None, None]).astype("f4")[..., None])


def wipe(before: Frames, after: Frames, random: np.random.Generator) -> Frames:
    """Replace the old shot by the new one along an edge, or move the new one over it.

    Args:
        before: (T, 64, 96, 3) of the old shot.
        after: as many frames of the new one.
        random: draws the form.
    """
    shares = _shares(len(before))
    if random.random() < 0.3:
        shares = _eased(shares)
    if random.random() < 0.4:
        return _slid(before, after, shares, random)
    order = _order(random)
    soft = random.uniform(0.01, 0.15)
    progress = shares[:, None, None] * (1 + soft)
    masks = np.clip((progress - order[None]) / soft, 0, 1).astype(np.float32)
    return _mixed(before, after, masks[..., None])


def _order(random: np.random.Generator) -> Shares:
    """Return when each pixel changes, (64, 96) in [0, 1]: from one side, diagonally, from or
    towards the centre, as a circle, diamond, clock hand, doors, blinds or blocks."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    x, y = x / WIDTH, y / HEIGHT
    kind = random.integers(9)
    if kind == 0:
        order = x
    elif kind == 1:
        order = y
    elif kind == 2:
        order = (x + y) / 2 if random.random() < 0.5 else (x + 1 - y) / 2
    elif kind == 3:
        order = np.hypot(x - 0.5, y - 0.5) / 0.71
    elif kind == 4:
        order = np.abs(x - 0.5) + np.abs(y - 0.5)
    elif kind == 5:
        order = (np.arctan2(y - 0.5, x - 0.5) / (2 * np.pi) + random.random()) % 1
    elif kind == 6:
        order = 2 * np.abs((x if random.random() < 0.5 else y) - 0.5)
    elif kind == 7:
        order = ((x if random.random() < 0.5 else y) * random.integers(3, 8)) % 1
    else:
        order = random.random((HEIGHT // 8, WIDTH // 8)).repeat(8, 0).repeat(8, 1)
    return np.asarray(1 - order if random.random() < 0.5 else order, np.float32)


def _slid(before: Frames, after: Frames, shares: Shares, random: np.random.Generator) -> Frames:
    """Push both shots, slide the new one over the old, or slide the old one away, from any
    side."""
    form, side = random.integers(3), int(random.integers(4))
    # Turned so that the new shot always comes from the right.
    old, new = (_turned(frames, side) for frames in (before, after))
    wide = old.shape[2]
    mixed = old.copy()
    for k, share in enumerate(shares):
        shift = min(max(round(float(share) * wide), 1), wide - 1)
        if form == 0:
            mixed[k] = np.concatenate((old[k], new[k]), axis=1)[:, shift : shift + wide]
        elif form == 1:
            mixed[k, :, wide - shift :] = new[k, :, :shift]
        else:
            mixed[k, :, : wide - shift] = old[k, :, shift:]
            mixed[k, :, wide - shift :] = new[k, :, wide - shift :]
    return np.ascontiguousarray(_turned_back(mixed, side))


def _turned(frames: Frames, side: int) -> Frames:
    turned = frames.swapaxes(1, 2) if side >= 2 else frames
    return turned[:, :, ::-1] if side % 2 else turned


def _turned_back(frames: Frames, side: int) -> Frames:
    turned = frames[:, :, ::-1] if side % 2 else frames
    return turned.swapaxes(1, 2) if side >= 2 else turned
