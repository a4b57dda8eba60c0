"""Split annotated videos into training and validation videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vtnstream.config import DataConfig
from vtnstream.datasets.annotations import AnnotatedVideo, Annotations
from vtnstream.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Split:
    """Training and validation videos; ``how`` describes the choice in words."""

    train: tuple[AnnotatedVideo, ...]
    validation: tuple[AnnotatedVideo, ...]
    how: str


def split_videos(annotations: Annotations, config: DataConfig, seed: int) -> Split:
    """Split the annotated videos.

    Excluded folds and ``test`` videos are left out. The validation videos are the validation
    fold, else those of the file's ``split`` column, else a random share of the groups.

    Raises:
        ConfigError: a fold does not exist, or no training video is left.
    """
    _check_folds(annotations, config)
    usable = [
        video
        for video in annotations.videos
        if video.split != "test" and video.fold not in config.exclude_folds
    ]
    if config.validation_fold is not None:
        held = [video for video in usable if video.fold == config.validation_fold]
        how = f"fold {config.validation_fold}"
    elif any(video.split == "validation" for video in usable):
        held = [video for video in usable if video.split == "validation"]
        how = "the split of the annotations"
    else:
        held = _random_share(usable, config.validation, seed)
        how = f"a random {config.validation:.0%}" if held else "none"
    left_out = set(held)
    train = tuple(video for video in usable if video not in left_out)
    if not train:
        raise ConfigError(
            f"{annotations.source}: no video is left to learn from "
            f"({len(annotations.videos)} in the file, {len(held)} for validation)"
        )
    return Split(train, tuple(held), how)


def _check_folds(annotations: Annotations, config: DataConfig) -> None:
    known = {video.fold for video in annotations.videos if video.fold is not None}
    wanted = {*config.exclude_folds}
    if config.validation_fold is not None:
        wanted.add(config.validation_fold)
    unknown = sorted(wanted - known)
    if unknown:
        there = ", ".join(sorted(known)) or "none, it has no fold column"
        raise ConfigError(f"{annotations.source}: no fold {', '.join(unknown)} (it has: {there})")


def _random_share(
    videos: Sequence[AnnotatedVideo], share: float, seed: int
) -> list[AnnotatedVideo]:
    """Return about ``share`` of the videos, in whole groups and equally from each class.

    The last group of a class is never held out.
    """
    groups: dict[str, list[AnnotatedVideo]] = {}
    for number, video in enumerate(videos):
        name = f"group {video.group}" if video.group is not None else f"video {number}"
        groups.setdefault(name, []).append(video)
    by_label: dict[str, list[list[AnnotatedVideo]]] = {}
    for members in groups.values():
        first = members[0].annotations[0]
        key = "" if first.is_segment else first.label
        by_label.setdefault(key, []).append(members)
    rng = np.random.default_rng(seed)
    held: list[AnnotatedVideo] = []
    for label in sorted(by_label):
        candidates = by_label[label]
        wanted = round(share * sum(map(len, candidates)))
        taken = 0
        for position in rng.permutation(len(candidates))[:-1]:
            if taken >= wanted:
                break
            held += candidates[position]
            taken += len(candidates[position])
    return held
