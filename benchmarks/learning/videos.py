"""Generated videos, as features, whose labels only the whole video determines.

*phases* are the videos of ``vtnstream demo`` (:mod:`vtnstream.synthesis.cue_videos`): a bar in the
first seconds, then phases whose label is (image + colour of the bar) mod 3. *order*: three bars,
one of each colour, far apart among the same moving images; the class is their order. Colours are
uniform and independent of everything else.

Only the sampled frames are rendered. They go directly through a frozen random backbone; files
and decoder are tested by the demo.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vtnstream.config import BackboneConfig
from vtnstream.datasets.annotations import AnnotatedVideo
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.models.backbone import create_backbone, native_preprocess
from vtnstream.synthesis.cue_videos import (
    CUES,
    LABELS,
    OPENING_SECONDS,
    CueVideoConfig,
    plan_video,
    render,
)
from vtnstream.training.data.targets import IGNORE, Sample
from vtnstream.types import Features, TokenTimes

SIZE = 32
"""Height and width of the frames."""
EVENT = 2
"""Length of a bar in *order* in frames."""
ORDERS = tuple("-".join(CUES[i] for i in order) for order in permutations(range(3)))
"""Classes of *order*: the colours that came first, second and third."""
BATCH = 30
"""Frames per backbone call."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledVideo:
    """Frames (T, SIZE, SIZE, 3) uint8 with the class of the video, or of each token (T,).

    Tokens without a class have IGNORE.
    """

    frames: NDArray[np.uint8]
    label: int | None = None
    targets: NDArray[np.int64] | None = None


def phases(seed: tuple[int, ...], count: int) -> LabelledVideo:
    """Generate a video of ``vtnstream demo``; its opening, which shows the cue, has no label."""
    config = CueVideoConfig(seconds=count, fps=1, size=SIZE)
    plan = plan_video(seed, config)
    targets = np.full(count, IGNORE, np.int64)
    for phase in plan.phases:
        targets[phase.start : phase.end] = (phase.pattern + plan.cue) % len(LABELS)
    return LabelledVideo(np.stack(list(render(plan, config))), targets=targets)


def order(seed: tuple[int, ...], count: int) -> LabelledVideo:
    """Generate a video with three bars at least a sixth of its length apart, in one of six
    orders."""
    config = CueVideoConfig(seconds=count, fps=1, size=SIZE)
    random = np.random.default_rng([*seed, 2])
    plan = replace(plan_video(seed, config), cue_start=count)  # no cue of its own
    frames = np.stack(list(render(plan, config)))
    frames[:OPENING_SECONDS] = frames[OPENING_SECONDS : 2 * OPENING_SECONDS]  # nor a title
    label = int(random.integers(len(ORDERS)))
    apart = count // 6
    spare = count - 3 * EVENT - 2 * apart
    waits = np.sort(random.integers(0, spare + 1, 3))
    for number, colour in enumerate(list(permutations(range(3)))[label]):
        start = int(waits[number]) + number * (EVENT + apart)
        bar = frames[start : start + EVENT, : SIZE // 3]
        bar[:] = 30
        bar[..., colour] = 230
    return LabelledVideo(frames, label=label)


class Eye:
    """The frozen random backbone, the same for every video and seed."""

    def __init__(self) -> None:
        config = BackboneConfig("test_resnet")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            backbone = create_backbone(config)
        native = replace(native_preprocess(config), size=SIZE, resize=SIZE)
        self._encoder = FrameEncoder(backbone, config, native, dtype="float32")
        self._look = self._encoder.runner(BATCH)

    def samples(
        self,
        draw: Callable[[tuple[int, ...], int], LabelledVideo],
        seed: int,
        part: int,
        count: int,
        length: int,
    ) -> list[Sample]:
        """Encode the videos of one split; splits (``part``) share no video."""
        found = []
        for number in range(count):
            drawn = draw((seed, part, number), length)
            video = AnnotatedVideo(Path(f"{seed}-{part}-{number}"), ())
            features = Features(self._look(drawn.frames), times(length))
            found.append(Sample(video, features, 0, length, drawn.label, drawn.targets))
        return found


def times(count: int) -> TokenTimes:
    """Return the times of tokens of one second each."""
    indices = np.arange(count)
    seconds = indices.astype(np.float64)
    return TokenTimes(indices, indices, seconds, seconds + 1)
