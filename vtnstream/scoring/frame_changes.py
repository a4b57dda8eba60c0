"""Measure the changes between the frames of a video from the thumbnails in its features."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vtnstream.config import ModelConfig
from vtnstream.localization.runs import gap_free_runs
from vtnstream.localization.view_changes import ViewChanges, measure
from vtnstream.types import FeatureSequence, FloatArray

_BLOCK = 1024


def frame_changes(config: ModelConfig, features: FeatureSequence) -> list[ViewChanges] | None:
    """Measure the changes within each gap-free run of a video; None for a model without
    thumbnails.

    Args:
        config: ``backbone.thumbnail`` gives the size of the thumbnail at the end of a feature.
        features: N tokens, read once in blocks.
    """
    size = config.backbone.num_thumbnail
    if not size:
        return None
    rows, columns = config.backbone.thumbnail
    starts = features.times.start_seconds
    runs = gap_free_runs(features.times)
    blocks = _thumbnails(config, features, size)
    rest: list[FloatArray] = []
    found = []
    for run in runs:
        parts = _take(blocks, rest, run.stop - run.start)
        found.append(measure(parts, starts[run], (rows, columns)))
    return found


def _thumbnails(config: ModelConfig, features: FeatureSequence, size: int) -> Iterator[FloatArray]:
    """Yield blocks (n, ``size``) of thumbnails in values of 0 to 255."""
    places = size // 3
    std = np.repeat(np.asarray(config.preprocess.std, np.float32), places)
    mean = np.repeat(np.asarray(config.preprocess.mean, np.float32), places)
    for block in features.blocks(_BLOCK):
        yield np.clip((block[:, -size:] * std + mean) * 255, 0, 255)


def _take(blocks: Iterator[FloatArray], rest: list[FloatArray], count: int) -> Iterator[FloatArray]:
    """Yield the next ``count`` rows of ``blocks``; the other rows of the last block go into
    ``rest``."""
    while count:
        block = rest.pop() if rest else next(blocks)
        yield block[:count]
        if len(block) > count:
            rest.append(block[count:])
        count -= min(len(block), count)
