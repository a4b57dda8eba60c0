"""Shots for edited videos: takes and photos seen through a moving crop, with changed colours and
speed, and with the disturbances of :mod:`vtnstream.synthesis.disturbances`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtnstream.synthesis.disturbances import disturbed, pass_object, stuttered
from vtnstream.synthesis.footage import HEIGHT as SOURCE_HEIGHT
from vtnstream.synthesis.footage import WIDTH as SOURCE_WIDTH
from vtnstream.synthesis.footage import Footage, Take

WIDTH, HEIGHT = 96, 64
Frames = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a shot, from which another shot of the same scene can be made.

    Attributes:
        take: its source frames; None for a procedural image.
        place: frame of the take at which it starts.
        crop: size of the crop as a share of the frame, and its position, both in [0, 1].
        flip: whether it is mirrored.
        look: seed of the colours.
    """

    take: Take | None
    place: int
    crop: tuple[float, float, float]
    flip: bool
    look: int


@dataclass(frozen=True, slots=True)
class Shot:
    """Frames (T, 64, 96, 3) uint8 and their origin."""

    frames: Frames
    origin: Origin


def draw_shot(
    footage: Footage, count: int, random: np.random.Generator, *, photo: bool, moving: bool = True
) -> Shot:
    """Draw a shot of ``count`` frames at random.

    Args:
        footage: raw material.
        count: number of frames.
        random: makes all choices.
        photo: use a photo (or a procedural image) instead of a take.
        moving: whether anything moves; a photo without motion is a still.
    """
    takes = footage.photos if photo else footage.moving
    take = takes[random.integers(len(takes))] if takes else None
    if photo and random.random() < 0.3:
        take = None
    place = 0 if take is None else int(random.integers(take.stop - take.start))
    size = float(random.uniform(0.55, 1.0))
    x, y = (float(v) for v in random.uniform(0, 1, 2))
    origin = Origin(
        take, place, (size, x, y), bool(random.random() < 0.5), int(random.integers(1 << 30))
    )
    return _shown(footage, origin, count, random, moving=moving)


def draw_near(footage: Footage, before: Origin, count: int, random: np.random.Generator) -> Shot:
    """Draw a shot of the same take as another: seconds later or earlier, closer, or to the side.
    Most cuts of real videos join two views of one scene.

    Args:
        footage: raw material.
        before: a shot of a take.
        count: number of frames.
        random: makes all choices.
    """
    assert before.take is not None
    length = before.take.stop - before.take.start
    size, x, y = before.crop
    place = before.place
    form = random.random()
    long = length > 60
    if form < 0.75 and long:
        place = int(before.place + random.integers(25, max(length - 24, 26))) % length
    if form > 0.45 or not long:
        size = float(np.clip(size * random.choice([0.55, 0.7, 1.4, 1.8]), 0.4, 1.0))
    if form > 0.7 or not long:
        x, y = (float(v) for v in np.clip(np.array([x, y]) + random.normal(0, 0.5, 2), 0, 1))
    origin = Origin(before.take, place, (size, x, y), before.flip, before.look)
    return _shown(footage, origin, count, random, moving=True)


def draw_stretch(footage: Footage, start: int, count: int, random: np.random.Generator) -> Frames:
    """Return frames ``[start, start + count)`` of the footage through one fixed crop and with one
    look: (count, 64, 96, 3). They may contain cuts."""
    size = float(random.uniform(0.8, 1.0))
    x, y = (float(v) for v in random.uniform(0, 1, 2))
    origin = Origin(None, 0, (size, x, y), bool(random.random() < 0.5), 0)
    source = footage.read(Take(start, start + count))
    return _graded(_through_crop(source, origin, count, random, moving=False), random)


def _shown(
    footage: Footage, origin: Origin, count: int, random: np.random.Generator, *, moving: bool
) -> Shot:
    """Make the frames of an origin, with motion and disturbances."""
    plain = moving and origin.take is None and random.random() < 0.6
    if origin.take is None:
        source = (_plain if plain else _drawn)(np.random.default_rng(origin.look))[None]
    elif origin.take.is_photo:
        source = footage.read(origin.take)
    else:
        source = _of_take(footage, origin.take, origin.place, count, random)
    frames = _through_crop(source, origin, count, random, moving=moving)
    if plain:
        frames = pass_object(frames.astype("f4"), _patch(footage, random), random).clip(0, 255)
        frames = frames.astype(np.uint8)
    look = np.random.default_rng(origin.look)
    frames = _graded(frames, look)
    if look.random() < 0.15:
        frames = (frames * look.uniform(0.08, 0.4)).astype(np.uint8)  # a dark scene
    if moving and random.random() < 0.4:
        frames = disturbed(frames, _patch(footage, random), random)
    return Shot(frames, origin)


def _patch(footage: Footage, random: np.random.Generator) -> Frames:
    """Return an image of any kind, as the surface of an object."""
    if random.random() < 0.3 or not footage.takes:
        return _drawn(random)
    take = footage.takes[random.integers(len(footage.takes))]
    at = int(random.integers(take.stop - take.start))
    return np.asarray(footage.read(take, at, at + 1)[0], np.uint8)


def _of_take(
    footage: Footage, take: Take, place: int, count: int, random: np.random.Generator
) -> Frames:
    """Return frames of a take at a random speed, sometimes backwards; a short take is played
    forwards and backwards in turn."""
    length = take.stop - take.start
    speed = float(random.choice([0.5, 1, 1, 1, 1, 1.5, 2]))
    steps = np.arange(count) * speed
    if random.random() < 0.2:
        steps = -steps
    places = np.abs(((steps + place).astype(int) + length) % (2 * length) - length)
    places = np.minimum(places, length - 1).astype(np.int64)
    if random.random() < 0.06:
        places = stuttered(places, random)
    frames: Frames = footage.read(take)[places]
    return frames


def _plain(random: np.random.Generator) -> Frames:
    """Return a nearly featureless image: one colour, a faint gradient, faint noise."""
    y, x = np.mgrid[0:SOURCE_HEIGHT, 0:SOURCE_WIDTH].astype(np.float32)
    angle = random.uniform(0, 2 * np.pi)
    ramp = x * np.cos(angle) / SOURCE_WIDTH + y * np.sin(angle) / SOURCE_HEIGHT
    base = (
        random.uniform(20, 240) + random.normal(0, 12, 3) + ramp[..., None] * random.uniform(0, 60)
    )
    base = base + random.normal(0, random.uniform(0, 4), (SOURCE_HEIGHT, SOURCE_WIDTH, 1))
    return np.asarray(base.clip(0, 255), np.uint8)


def _drawn(random: np.random.Generator) -> Frames:
    """Return a procedural image: gradients, stripes, blobs or lines that look like text."""
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
    source: Frames, origin: Origin, count: int, random: np.random.Generator, *, moving: bool
) -> Frames:
    """Return each frame through a crop that drifts, zooms, shakes or pans fast."""
    from PIL import Image

    size = origin.crop[0]
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
    start = np.asarray(origin.crop[1:])
    places = np.clip(start + drift, 0, 1)
    shake = random.uniform(0, 0.012) if moving and random.random() < 0.4 else 0.0
    places = np.clip(places + random.normal(0, 1, places.shape) * shake, 0, 1)
    frames = np.empty((count, HEIGHT, WIDTH, 3), np.uint8)
    for k in range(count):
        wide, high = SOURCE_WIDTH * sizes[k], SOURCE_HEIGHT * sizes[k]
        left = (SOURCE_WIDTH - wide) * places[k, 0]
        top = (SOURCE_HEIGHT - high) * places[k, 1]
        image = Image.fromarray(source[k if len(source) > 1 else 0])
        box = (left, top, left + wide, top + high)
        frames[k] = np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, box=box))
    speed = np.abs(np.diff(places, axis=0, prepend=places[:1])).sum(1)
    for k in np.flatnonzero(
        speed > 0.03
    ).tolist():  # a fast pan blurs the image along its direction
        frames[k] = _smeared(frames[k], int(np.clip(speed[k] * 120, 3, 24)))
    return frames[:, :, ::-1] if origin.flip else frames


def _path(count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Return the offsets (T, 2) of a crop: a steady drift, and in one shot of six a whip pan."""
    direction = random.normal(0, 1, 2)
    steady = np.linspace(0, random.uniform(0, 0.004) * count, count)[:, None] * direction
    if random.random() < 0.17 and count > 12:
        length = int(random.integers(4, 12))
        # In one of three it begins with the shot: a cut into a fast pan is still a cut.
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
    """Apply one look to the whole shot: gain and gamma for each colour, sometimes grey or with
    swapped colours."""
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
