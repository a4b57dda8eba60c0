"""Splitting a list between machines."""

from __future__ import annotations

import random

import pytest

from vtnstream.batch.manifest import Input, InputList
from vtnstream.batch.shard import Shard, parse_shard
from vtnstream.errors import UsageError


def listed(*paths: str) -> InputList:
    return InputList(tuple(Input(path) for path in paths), single=False)


VIDEOS = [f"/films/day {day}/camera {camera}.mp4" for day in range(50) for camera in range(2)]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100, 150])
def test_shares_are_disjoint_complete_and_balanced(count: int) -> None:
    shares = [Shard(i, count).of(listed(*VIDEOS)).items for i in range(1, count + 1)]
    dealt = [item.path for share in shares for item in share]
    assert sorted(dealt) == sorted(VIDEOS)
    sizes = {len(share) for share in shares}
    assert max(sizes) - min(sizes) <= 1


def test_the_order_of_the_list_does_not_matter_and_is_kept() -> None:
    shuffled = random.Random(0).sample(VIDEOS, len(VIDEOS))
    share = Shard(2, 7).of(listed(*shuffled)).items
    assert {i.path for i in share} == {i.path for i in Shard(2, 7).of(listed(*VIDEOS)).items}
    assert [i.path for i in share] == [path for path in shuffled if Input(path) in share]


def test_a_pattern_of_the_list_is_spread_over_the_shares() -> None:
    cameras = [item.path[-5] for item in Shard(1, 2).of(listed(*VIDEOS)).items]
    assert 10 < cameras.count("0") < 40


def test_the_digest_names_the_set_of_inputs() -> None:
    assert listed(*VIDEOS).digest() == listed(*reversed(VIDEOS)).digest()
    assert listed(*VIDEOS).digest() != listed(*VIDEOS[1:]).digest()


@pytest.mark.parametrize(
    ("text", "environment", "shard"),
    [
        ("1/1", {}, Shard(1, 1)),
        ("3/10", {"SLURM_ARRAY_TASK_ID": "7"}, Shard(3, 10)),
        ("auto", {"ID": 0, "MIN": 0, "MAX": 9, "COUNT": 10}, Shard(1, 10)),
        ("auto", {"ID": 10, "MIN": 1, "MAX": 10, "COUNT": 10}, Shard(10, 10)),
        ("auto", {"ID": 9, "MIN": 1, "MAX": 13, "COUNT": 4}, Shard(3, 4)),
        ("auto", {"ID": 5, "MIN": 5, "MAX": 5, "COUNT": 1}, Shard(1, 1)),
        ("auto", {"ID": 2, "COUNT": 4}, Shard(3, 4)),
        ("auto/10", {"ID": 3, "MIN": 3, "MAX": 3, "COUNT": 1}, Shard(4, 10)),
        ("auto/10", {"JOB_COMPLETION_INDEX": "9"}, Shard(10, 10)),
    ],
)
def test_shards_of_command_lines_and_arrays(
    text: str, environment: dict[str, object], shard: Shard
) -> None:
    variables = {
        name if name.isupper() and "_" in name else f"SLURM_ARRAY_TASK_{name}": str(value)
        for name, value in environment.items()
    }
    assert parse_shard(text, variables) == shard


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        ("0/10", {}, "does not exist"),
        ("11/10", {}, "does not exist"),
        ("1/0", {}, "does not exist"),
        ("half", {}, "not a shard: 'half'"),
        ("auto", {}, "neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX"),
        ("auto", {"JOB_COMPLETION_INDEX": "1"}, "auto/COMPLETIONS"),
        ("auto/4", {"JOB_COMPLETION_INDEX": "4"}, "does not exist"),
        ("auto/4", {"SLURM_ARRAY_TASK_ID": "4"}, "array 0-3"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "4"}, "SLURM_ARRAY_TASK_COUNT is ''"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "x"}, "SLURM_ARRAY_TASK_ID is 'x'"),
        (
            "auto",
            {
                "SLURM_ARRAY_TASK_ID": "3",
                "SLURM_ARRAY_TASK_MIN": "1",
                "SLURM_ARRAY_TASK_MAX": "7",
                "SLURM_ARRAY_TASK_COUNT": "3",
            },
            "one step",  # of an array 1,3,7
        ),
    ],
)
def test_errors_of_shards_explain_the_syntax(
    text: str, environment: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        parse_shard(text, environment)
