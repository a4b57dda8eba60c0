"""What looks like a transition and is none: flashes, exposure steps, captions, large objects,
stutter and loss of focus inside one shot. The bundled model learns from them to stay silent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
Floats = NDArray[np.float32]
Disturbance = Callable[[Floats, Frames, np.random.Generator], Floats]

_FPS = 25


def disturbed(frames: Frames, patch: Frames, random: np.random.Generator) -> Frames:
    """One disturbance in a shot; the shot stays one shot.

    Args:
        frames: (T, 64, 96, 3) uint8.
        patch: (h, w, 3) uint8, any other image: the surface of passing objects.
        random: of the kind and its form.

    Returns:
        (T, 64, 96, 3) uint8.
    """
    kind = random.choice(len(_KINDS), p=_SHARES)
    values = _KINDS[kind](frames.astype(np.float32), patch, random)
    return values.clip(0, 255).astype(np.uint8)


def stuttered(places: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """Frame numbers of a recording that stops for up to half a second, several times, and goes
    on where it would have been: frames are repeated, then some are missing.

    Args:
        places: (T,) frame numbers of the undisturbed shot.
        random: of when and how long.
    """
    held = places.copy()
    for _ in range(int(random.integers(1, 7))):
        first = int(random.integers(len(places)))
        stop = min(first + int(random.integers(2, _FPS // 2)), len(places))
        held[first:stop] = places[first]
    return held


def passing(values: Floats, patch: Frames, random: np.random.Generator) -> Floats:
    """A large object enters from any side, crosses the image or turns back, and leaves, within
    20 to 150 frames; in place."""
    count, height, width = values.shape[:3]
    high = int(random.uniform(0.3, 1.3) * height)
    wide = int(random.uniform(0.25, 1.3) * width)
    surface = _surface(patch, high, wide, random)
    mask = _outline(high, wide, random)
    length = int(random.integers(20, 150))
    begin = int(random.integers(-length // 3, max(count - length // 2, 1)))
    side = int(random.integers(4))
    back = random.random() < 0.3
    across = random.uniform(-0.3, 0.7)
    for k in range(max(begin, 0), min(begin + length, count)):
        share = (k - begin) / length
        share = (1 - abs(2 * share - 1)) * 0.6 if back else share
        if side < 2:
            left = round(-wide + (width + wide) * (share if side else 1 - share))
            top = round(across * height)
        else:
            top = round(-high + (height + high) * (share if side == 2 else 1 - share))
            left = round(across * width)
        _paste(values[k], surface, mask, top, left)
    return values


def _surface(patch: Frames, high: int, wide: int, random: np.random.Generator) -> Floats:
    """Textured like another image, or nearly plain."""
    from PIL import Image

    if random.random() < 0.35:
        color = random.uniform(0, 255, 3).astype(np.float32)
        noise = random.normal(0, random.uniform(0, 12), (high, wide, 1)).astype(np.float32)
        shade = np.linspace(-1, 1, wide, dtype=np.float32)[None, :, None]
        return color + noise + shade * np.float32(random.uniform(0, 40))
    rows, columns = patch.shape[:2]
    top, left = random.integers(rows // 2), random.integers(columns // 2)
    part = patch[top : top + rows // 2, left : left + columns // 2]
    return np.asarray(Image.fromarray(part).resize((wide, high)), np.float32)


def _outline(high: int, wide: int, random: np.random.Generator) -> Floats:
    """(high, wide, 1) in [0, 1]: a box, an ellipse or a box with round corners."""
    y = np.linspace(-1, 1, high, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, wide, dtype=np.float32)[None]
    power = float(random.choice([2.0, 4.0, 12.0]))
    distance = np.abs(x) ** power + np.abs(y) ** power
    soft = np.float32(random.uniform(0.05, 0.4))
    return np.clip((1 + soft - distance) / soft, 0, 1)[..., None].astype(np.float32)


def _paste(frame: Floats, surface: Floats, mask: Floats, top: int, left: int) -> None:
    height, width = frame.shape[:2]
    high, wide = surface.shape[:2]
    y0, y1 = max(top, 0), min(top + high, height)
    x0, x1 = max(left, 0), min(left + wide, width)
    if y0 >= y1 or x0 >= x1:
        return
    part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    region = frame[y0:y1, x0:x1]
    region += (surface[part] - region) * mask[part]


def _objects(values: Floats, patch: Frames, random: np.random.Generator) -> Floats:
    for _ in range(int(random.integers(1, 4))):
        values = passing(values, patch, random)
    return values


def _flash(values: Floats, patch: Frames, random: np.random.Generator) -> Floats:
    for _ in range(int(random.integers(1, 4))):
        at, length = int(random.integers(len(values))), int(random.integers(1, 4))
        values[at : at + length] += random.uniform(60, 220)
    return values


def _exposure(values: Floats, patch: Frames, random: np.random.Generator) -> Floats:
    """Brightness that drifts, steps, or settles as a recording starts."""
    count = len(values)
    form = random.random()
    if form < 0.4:
        levels = 1 + random.uniform(0.1, 0.5) * np.sin(
            np.linspace(0, random.uniform(2, 12), count) + random.uniform(0, 6)
        )
    elif form < 0.7:
        at = int(random.integers(count))
        levels = np.where(np.arange(count) < at, 1.0, random.uniform(0.55, 1.6))
    else:
        length = int(random.integers(2, 30))
        ramp = np.clip(np.arange(count) / length, 0, 1)
        levels = random.uniform(0.2, 1.8) * (1 - ramp) + ramp
    values *= levels[:, None, None, None].astype(np.float32)
    return values


def _caption(values: Floats, patch: Frames, random: np.random.Generator) -> Floats:
    """Lines like text over a part of the image for a while."""
    count, height, width = values.shape[:3]
    first = int(random.integers(count))
    stop = first + int(random.integers(5, 80))
    top, left = int(random.integers(4, height - 20)), int(random.integers(4, width // 2))
    if random.random() < 0.4:
        values[first:stop, top - 2 : top + 14, left - 4 :] *= 0.3
    for row in range(top, top + int(random.choice([4, 10])), 5):
        values[first:stop, row : row + 3, left : left + int(random.integers(15, 60))] = 235
    return values


def _focus(values: Floats, patch: Frames, random: np.random.Generator) -> Floats:
    """Sharpness that is lost and found again within a second."""
    count = len(values)
    length = int(random.integers(6, 30))
    begin = int(random.integers(max(count - length, 1)))
    for k in range(begin, min(begin + length, count)):
        share = 1 - abs(2 * (k - begin) / length - 1)
        radius = round(share * 8)
        if radius:
            values[k] = _blurred(values[k], 2 * radius + 1)
    return values


def _blurred(frame: Floats, width: int) -> Floats:
    for axis in (0, 1):
        pad = [(0, 0)] * 3
        pad[axis] = (width // 2 + 1, width // 2)
        sums = np.cumsum(np.pad(frame, pad, mode="edge"), axis=axis)
        ahead = np.take(sums, range(width, sums.shape[axis]), axis=axis)
        behind = np.take(sums, range(sums.shape[axis] - width), axis=axis)
        frame = (ahead - behind) / np.float32(width)
    return frame


_KINDS: tuple[Disturbance, ...] = (_objects, _flash, _exposure, _caption, _focus)
_SHARES = (0.4, 0.17, 0.2, 0.13, 0.1)
