"""Training and validation videos: folds, splits and random groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.cases import video
from vtnstream.config import DataConfig
from vtnstream.datasets.annotations import AnnotatedVideo, Annotations
from vtnstream.errors import ConfigError
from vtnstream.training.data.split import split_videos


def annotations(*videos: AnnotatedVideo) -> Annotations:
    return Annotations(Path("a.csv"), videos, ("x", "y"), False)


def names(videos: tuple[AnnotatedVideo, ...]) -> set[str]:
    return {video.path.name for video in videos}


FOLDED = annotations(*(video(f"{n}", "xy"[n % 2], fold=str(n % 5)) for n in range(20)))


def test_folds_are_held_out_and_excluded() -> None:
    data = DataConfig(validation_fold="1", exclude_folds=("4",))
    split = split_videos(FOLDED, data, 0)
    assert names(split.validation) == {"1", "6", "11", "16"}
    assert len(split.train) == 12
    assert not {"4", "9", "14", "19"} & (names(split.train) | names(split.validation))
    assert split.how == "fold 1"


def test_unknown_folds_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"no fold 7 \(it has: 0, 1, 2, 3, 4\)"):
        split_videos(FOLDED, DataConfig(validation_fold="7"), 0)
    with pytest.raises(ConfigError, match="has no fold column"):
        split_videos(annotations(video("a")), DataConfig(exclude_folds=("0",)), 0)


def test_the_split_column_is_used_and_test_videos_left_out() -> None:
    parts = ("train", "validation", "test", None)
    given = annotations(*(video(f"{n}", split=parts[n % 4]) for n in range(8)))
    split = split_videos(given, DataConfig(), 0)
    assert names(split.validation) == {"1", "5"}
    assert names(split.train) == {"0", "3", "4", "7"}


def test_a_random_share_keeps_groups_together_and_classes_balanced() -> None:
    grouped = annotations(
        *(video(f"{n}", "x" if n < 40 else "y", group=str(n // 4)) for n in range(80))
    )
    split = split_videos(grouped, DataConfig(validation=0.2), 3)
    assert not {v.group for v in split.train} & {v.group for v in split.validation}
    labels = [v.annotations[0].label for v in split.validation]
    assert labels.count("x") == labels.count("y") == 8
    assert split_videos(grouped, DataConfig(validation=0.2), 3) == split
    assert split_videos(grouped, DataConfig(validation=0.2), 4) != split


def test_no_validation_share_and_no_class_is_lost() -> None:
    few = annotations(video("a", "x"), video("b", "y"), video("c", "y"))
    assert not split_videos(few, DataConfig(validation=0), 0).validation
    split = split_videos(few, DataConfig(validation=0.9), 0)
    assert {v.annotations[0].label for v in split.train} == {"x", "y"}


def test_a_split_without_training_videos_is_an_error() -> None:
    only_test = annotations(video("a", split="test"))
    with pytest.raises(ConfigError, match="no video is left"):
        split_videos(only_test, DataConfig(), 0)
