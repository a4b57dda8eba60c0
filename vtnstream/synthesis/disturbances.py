"""Events inside one shot that look like a transition: flashes, exposure steps, captions, banners,
large objects, stutter, loss of focus, a change of lens, jumps of image quality. The bundled model
learns to ignore them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
Floats = NDArray[np.float32]
Disturbance = Callable[[Floats, Frames, np.random.Generator], Floats]

_FPS = 25


def disturbed(frames: Frames, patch: Frames, random: np.random.Generator) -> Frames:
    """Add one disturbance to a shot; it remains one shot.

    Args:
        frames: (T, 64, 96, 3) uint8.
        patch: (h, w, 3) uint8, another image, used as the surface of passing objects.
        random: draws the kind and its form.

    Returns:
        (T, 64, 96, 3) uint8.
    """
    kind = random.choice(len(_KINDS), p=_SHARES)
    values = _KINDS[kind](frames.astype(np.float32), patch, random)
    return values.clip(0, 255).astype(np.uint8)


def stuttered(places: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """Return the frame numbers of a recording that stalls several times, for up to half a second:
    frames are repeated, then some are missing.

    Args:
        places: (T,) frame numbers of the undisturbed shot.
        random: draws when it stalls and for how long.
    """
    held = places.copy()
    for _ in range(int(random.integers(1, 7))):
        first = int(random.integers(len(places)))
        stop = min(first + int(random.integers(2, _FPS // 2)), len(places))
        held[first:stop] = places[first]
    return held


def pass_object(values: Floats, patch: Frames, random: np.random.Generator) -> Floats:
    """Draw a large object that enters from any side, crosses the image or turns back, and leaves
    within 20 to 150 frames. ``values`` is changed in place."""
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
    """Return a surface (high, wide, 3) with the texture of another image, or nearly plain."""
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
    """Return a mask (high, wide, 1) in [0, 1]: a box, an ellipse or a box with round corners."""
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
        values = pass_object(values, patch, random)
    return values


def _flash(values: Floats, patch: Frames, random: np.random.Generator) -> Floats:
    for _ in range(int(random.integers(1, 4))):
        at, length = int(random.integers(len(values))), int(random.integers(1, 4))
        values[at : at + length] += random.uniform(60, 220)
    return values


def _exposure(values: Floats, patch: Frames, random: np.random.Generator) -> Floats:
    """Let the brightness drift, step, or settle as at the start of a recording."""
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
    """Draw lines that look like text over a part of the image for some frames."""
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
    """Lose focus and find it again within a second."""
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


def _banner(values: Floats, patch: Frames, random: np.random.Generator) -> Floats:
    """Let a plain or textured panel appear or slide in over up to a third of the image, and
    disappear again."""
    count, height, width = values.shape[:3]
    form = int(random.integers(3))
    if form == 0:  # across the lower or upper part
        high, wide = int(random.uniform(0.12, 0.34) * height), width
        left, top = 0, height - high if random.random() < 0.75 else 0
    elif form == 1:  # at one side
        high, wide = height, int(random.uniform(0.12, 0.34) * width)
        left, top = width - wide if random.random() < 0.5 else 0, 0
    else:  # anywhere
        high, wide = (int(random.uniform(0.2, 0.55) * side) for side in (height, width))
        left, top = int(random.integers(width - wide)), int(random.integers(height - high))
    surface = _surface(patch, high, wide, random)
    opacity = np.full((high, wide, 1), random.uniform(0.6, 1.0), np.float32)
    first = int(random.integers(count))
    stop = first + int(random.integers(8, 200))
    slide = int(random.integers(3, 12)) if random.random() < 0.35 else 0
    for k in range(first, min(stop, count)):
        away = max(slide - (k - first), slide - (stop - 1 - k), 0) / max(slide, 1)
        _paste(values[k], surface, opacity, top + round(away * high * (top > 0 or -1)), left)
    return values


def _lens(values: Floats, patch: Frames, random: np.random.Generator) -> Floats:
    """Imitate a change of lens: the image becomes slightly larger from one frame to the next, and
    its colours change slightly; sometimes it changes back."""
    from PIL import Image

    count, height, width = values.shape[:3]
    first = int(random.integers(count))
    stop = first + int(random.integers(10, 120)) if random.random() < 0.4 else count
    zoom = float(random.uniform(1.0, 1.18))
    gains = np.float32(random.uniform(0.88, 1.12)) * random.uniform(0.9, 1.1, 3).astype("f4")
    left, top = random.uniform(0, 1, 2) * (1 - 1 / zoom) * (width, height)
    box = (left, top, left + width / zoom, top + height / zoom)
    inside = slice(first, stop) if random.random() < 0.5 else slice(0, first)
    for frame in values[inside]:
        image = Image.fromarray(frame.clip(0, 255).astype(np.uint8))
        frame[:] = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=box))
        frame *= gains
    return values


def _quality(values: Floats, patch: Frames, random: np.random.Generator) -> Floats:
    """Let detail and colour jump at keyframes; between them blocks become coarser or finer."""
    count, height, width = values.shape[:3]
    period, size = int(random.integers(6, 75)), int(random.choice([2, 4, 8]))
    loss, worse = float(random.uniform(0.3, 1.0)), bool(random.random() < 0.7)
    offset = int(random.integers(period))
    tint = random.normal(0, random.uniform(0, 3), (count // period + 2, 3)).astype("f4")
    for k in range(count):
        group, place = divmod(k + offset, period)
        share = place / period if worse else max(1 - 4 * place / period, 0.0)
        blocks = values[k].reshape(height // size, size, width // size, size, 3)
        coarse = np.broadcast_to(blocks.mean((1, 3), keepdims=True), blocks.shape)
        values[k] += (coarse.reshape(values[k].shape) - values[k]) * np.float32(share * loss)
        values[k] += tint[group]
    return values


_KINDS: tuple[Disturbance, ...] = (
    *(_objects, _flash, _exposure, _caption, _focus, _banner, _lens, _quality),
)
_SHARES = (0.32, 0.13, 0.15, 0.08, 0.08, 0.1, 0.08, 0.06)
