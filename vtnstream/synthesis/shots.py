"""Shots for edited films: takes and photos under a moving crop, changed colours and speed, with
everything in them that looks like a cut and is none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vtnstream.synthesis.footage import HEIGHT as SOURCE_HEIGHT
from vtnstream.synthesis.footage import WIDTH as SOURCE_WIDTH
from vtnstream.synthesis.footage import Footage

WIDTH, HEIGHT = 96, 64
Frames = NDArray[np.uint8]
Floats = NDArray[np.float32]


def draw_shot(
    footage: Footage, count: int, random: np.random.Generator, *, photo: bool, moving: bool = True
) -> Frames:
    """A shot of ``count`` frames (count, 64, 96, 3).

    Args:
        footage: raw material.
        count: frames.
        random: of all choices.
        photo: from a photo (or a drawn picture), else from a take.
        moving: whether anything moves; a photo that does not is a still.
    """
    source = _photo(footage, random) if photo else _take(footage, count, random)
    frames = _through_crop(source, count, random, moving=moving)
    frames = _graded(frames, random)
    if moving and random.random() < 0.35:
        frames = _distracted(frames, random)
    if random.random() < 0.15:
        frames = (frames * random.uniform(0.08, 0.4)).astype(np.uint8)  # a dark scene
    return frames


def _photo(footage: Footage, random: np.random.Generator) -> Frames:
    if not footage.photos or random.random() < 0.2:
        return _drawn(random)[None]
    return footage.read(footage.photos[random.integers(len(footage.photos))])


def _take(footage: Footage, count: int, random: np.random.Generator) -> Frames:
    """Frames of a take at some speed, backwards now and then; a short one goes to and fro."""
    if not footage.moving:
        return _photo(footage, random)
    take = footage.moving[random.integers(len(footage.moving))]
    length = take.stop - take.start
    speed = float(random.choice([0.5, 1, 1, 1, 1, 1.5, 2]))
    steps = np.arange(count) * speed + random.integers(length)
    if random.random() < 0.2:
        steps = -steps
    places = np.abs((steps.astype(int) + length) % (2 * length) - length)  # to and fro
    places = np.minimum(places, length - 1)
    frames: Frames = footage.read(take)[places]
    return frames


def _drawn(random: np.random.Generator) -> Frames:
    """A procedural picture: gradients, stripes, blobs or lines like text."""
    y, x = np.mgrid[0:SOURCE_HEIGHT, 0:SOURCE_WIDTH].astype(np.float32)
    base = random.uniform(0, 255, 3) * np.ones((SOURCE_HEIGHT, SOURCE_WIDTH, 1))
    kind = random.integers(4)
    if kind == 0:
        angle = random.uniform(0, 2 * np.pi)
        ramp = (x * np.cos(angle) / SOURCE_WIDTH + y * np.sin(angle) / SOURCE_HEIGHT)[..., None]
        base = base + ramp * random.uniform(-255, 255, 3)
    elif kind == 1:
        angle, period = random.uniform(0, np.pi), random.uniform(4, 40)
        wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period)
        base = base + (wave > 0)[..., None] * random.uniform(-150, 150, 3)
    elif kind == 2:
        for _ in range(random.integers(3, 12)):
            cx, cy = random.uniform(0, SOURCE_WIDTH), random.uniform(0, SOURCE_HEIGHT)
            inside = (x - cx) ** 2 + (y - cy) ** 2 < random.uniform(5, 40) ** 2
            base = np.where(inside[..., None], random.uniform(0, 255, 3), base)
    else:
        for row in range(8, SOURCE_HEIGHT - 8, int(random.integers(7, 14))):
            stop = int(random.uniform(0.3, 0.95) * SOURCE_WIDTH)
            base[row : row + 3, 10:stop] = random.uniform(0, 255, 3)
    return base.clip(0, 255).astype(np.uint8)


def _through_crop(
    source: Frames, count: int, random: np.random.Generator, *, moving: bool
) -> Frames:
    """Each frame through a crop that drifts, zooms, shakes or whips across."""
    from PIL import Image

    size = random.uniform(0.55, 1.0)
    zoom = random.uniform(0.85, 1.15) if moving else 1.0
    sizes = np.linspace(size, size * zoom, count)
    if moving and random.random() < 0.06:  # a zoom within a few frames
        length = int(random.integers(4, 16))
        begin = int(random.integers(0, max(count - length, 1)))
        sizes = sizes * random.uniform(0.5, 1.6) ** np.clip(
            (np.arange(count) - begin) / length, 0, 1
        )
    sizes = np.clip(sizes, 0.35, 1.0)
    drift = _path(count, random) if moving else np.zeros((count, 2))
    start = random.uniform(0, 1, 2)
    places = np.clip(start + drift, 0, 1)
    shake = random.uniform(0, 0.012) if moving and random.random() < 0.4 else 0.0
    places = np.clip(places + random.normal(0, 1, places.shape) * shake, 0, 1)
    flip = random.random() < 0.5
    frames = np.empty((count, HEIGHT, WIDTH, 3), np.uint8)
    for k in range(count):
        wide, high = SOURCE_WIDTH * sizes[k], SOURCE_HEIGHT * sizes[k]
        left = (SOURCE_WIDTH - wide) * places[k, 0]
        top = (SOURCE_HEIGHT - high) * places[k, 1]
        image = Image.fromarray(source[k if len(source) > 1 else 0])
        box = (left, top, left + wide, top + high)
        frames[k] = np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, box=box))
    speed = np.abs(np.diff(places, axis=0, prepend=places[:1])).sum(1)
    for k in np.flatnonzero(speed > 0.03).tolist():  # a fast pan smears along its way
        frames[k] = _smeared(frames[k], int(np.clip(speed[k] * 120, 3, 24)))
    return frames[:, :, ::-1] if flip else frames


def _path(count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Where a crop goes, as offsets: steadily, and in one shot of six with a whip pan."""
    direction = random.normal(0, 1, 2)
    steady = np.linspace(0, random.uniform(0, 0.004) * count, count)[:, None] * direction
    if random.random() < 0.17 and count > 12:
        length = int(random.integers(4, 12))
        # At once in one of three: a cut into a fast pan is still a cut.
        begin = int(random.integers(0, 3 if random.random() < 0.35 else count - length))
        ramp = np.clip((np.arange(count) - begin) / length, 0, 1)
        ramp = ramp * ramp * (3 - 2 * ramp)
        steady = steady + ramp[:, None] * random.choice([-1, 1], 2) * random.uniform(0.3, 1.0)
    return steady


def _smeared(frame: Frames, width: int) -> Frames:
    padded = np.pad(frame.astype(np.float32), ((0, 0), (width, 0), (0, 0)), mode="edge")
    sums = np.cumsum(padded, axis=1)
    return ((sums[:, width:] - sums[:, :-width]) / width).astype(np.uint8)


def _graded(frames: Frames, random: np.random.Generator) -> Frames:
    """One look for the whole shot: gain and gamma per colour, now and then grey or swapped."""
    gamma = random.uniform(0.6, 1.6)
    gain = random.uniform(0.7, 1.25) * random.uniform(0.85, 1.15, 3)
    table = 255 * (np.arange(256) / 255) ** gamma
    graded = np.stack([np.clip(table * g, 0, 255) for g in gain], -1).astype(np.uint8)
    frames = np.stack([graded[frames[..., c], c] for c in range(3)], -1)
    if random.random() < 0.1:
        frames = np.repeat(frames.mean(-1, keepdims=True).astype(np.uint8), 3, -1)
    elif random.random() < 0.2:
        frames = frames[..., random.permutation(3)]
    return frames


def _captioned(frames: Floats, random: np.random.Generator) -> None:
    """Lines like text over a part of the picture, for a while; in place."""
    count = len(frames)
    first = int(random.integers(count))
    stop = first + int(random.integers(5, 80))
    top = int(random.integers(4, HEIGHT - 20))
    left = int(random.integers(4, WIDTH // 2))
    if random.random() < 0.4:
        frames[first:stop, top - 2 : top + 14, left - 4 :] *= 0.3
    for row in range(top, top + int(random.choice([4, 10])), 5):
        frames[first:stop, row : row + 3, left : left + int(random.integers(15, 60))] = 235


def _distracted(frames: Frames, random: np.random.Generator) -> Frames:
    """A flash, a change of exposure, a caption that comes and goes, or something large that
    crosses the picture."""
    count = len(frames)
    values = frames.astype(np.float32)
    kind = random.integers(4)
    if kind == 0:
        for _ in range(random.integers(1, 4)):
            at, length = int(random.integers(count)), int(random.integers(1, 4))
            values[at : at + length] += random.uniform(60, 220)
    elif kind == 1:
        levels = 1 + random.uniform(0.1, 0.5) * np.sin(
            np.linspace(0, random.uniform(2, 12), count) + random.uniform(0, 6)
        )
        if random.random() < 0.4:  # a step, as of a camera that meters anew or a lamp
            levels = np.where(np.arange(count) < random.integers(count), 1.0, levels)
        values *= levels[:, None, None, None]
    elif kind == 2:
        _captioned(values, random)
    else:
        length = int(random.integers(8, max(9, min(count, 50))))
        begin = int(random.integers(0, max(count - length, 1)))
        wide = int(random.integers(WIDTH // 4, WIDTH))
        color = random.uniform(0, 255, 3)
        for k in range(begin, min(begin + length, count)):
            left = int(-wide + (WIDTH + wide) * (k - begin) / length)
            values[k, :, max(left, 0) : max(left + wide, 0)] = color
    return values.clip(0, 255).astype(np.uint8)
