"""Divide samples into folds; videos of one group stay together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vtnstream.datasets.annotations import AnnotatedVideo
from vtnstream.training.data.targets import Sample

MOST_FOLDS = 5


def group_of(video: AnnotatedVideo, folds_are_groups: bool) -> str:
    """Return the name of the group with which a video stays: its scene, else its fold, else
    itself."""
    if video.group is not None:
        return f"group {video.group}"
    if folds_are_groups and video.fold is not None:
        return f"fold {video.fold}"
    return f"video {video.path}"


def make_folds(
    samples: Sequence[Sample], num_classes: int, seed: int, most: int = MOST_FOLDS
) -> list[list[int]]:
    """Return the numbers of the samples of each fold. Groups stay whole, and classes are spread
    evenly: the largest group comes first, into the fold that has least of its classes.

    Args:
        samples: samples with labels or targets.
        num_classes: K.
        seed: breaks ties.
        most: largest number of folds; there are fewer if there are fewer groups.

    Returns:
        two folds or more, or none if there is one group only.
    """
    names = {s.video.fold for s in samples if s.video.fold is not None}
    members: dict[str, list[int]] = {}
    for number, sample in enumerate(samples):
        members.setdefault(group_of(sample.video, len(names) > 2), []).append(number)
    count = min(most, len(members))
    if count < 2:
        return []
    groups = list(members.values())
    counts = np.array([sum(_counts(samples[n], num_classes) for n in group) for group in groups])
    whole = np.maximum(counts.sum(0), 1)
    shares = counts / whole  # (G, K) of all tokens or samples of each class
    ties = np.random.default_rng(seed).permutation(len(groups))
    order = sorted(range(len(groups)), key=lambda g: (-shares[g].sum(), ties[g]))
    filled = np.zeros((count, num_classes))
    folds: list[list[int]] = [[] for _ in range(count)]
    for group in order:
        # Squares: a fold that has much of a class already costs more than one that has little.
        cost = ((filled + shares[group]) ** 2).sum(1) - (filled**2).sum(1)
        keys = [(round(float(cost[f]), 9), len(folds[f]), f) for f in range(count)]
        best = min(keys)[2]
        folds[best] += groups[group]
        filled[best] += shares[group]
    return [sorted(fold) for fold in folds]


def _counts(sample: Sample, num_classes: int) -> np.ndarray:
    if sample.targets is not None:
        return np.bincount(sample.targets[sample.targets >= 0], minlength=num_classes)
    return np.bincount([sample.label or 0], minlength=num_classes)
