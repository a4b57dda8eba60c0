"""One list, several machines: ``--shard i/n`` for Slurm arrays and Kubernetes indexed jobs.

Inputs are dealt out in the order of a hash of their path: every machine that sees the same
list deals the same, whatever the list's order, shares differ by one video at most, and no
rhythm in a folder (long, short, long, short) ends up in one share.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from vtnstream.batch.manifest import Input, InputList
from vtnstream.errors import UsageError

_FORM = re.compile(r"(\d+)/(\d+)")
_AUTO = re.compile(r"auto(?:/(\d+))?")
_EXPLAINED = "write --shard 3/10 (the third of ten), auto, or auto/10"


@dataclass(frozen=True, slots=True)
class Shard:
    """The share ``index`` (from 1) of ``count``."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise UsageError(f"shard {self.index} of {self.count} does not exist: {_EXPLAINED}")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def label(self) -> str:
        """Part of a file name, in the order of the shards."""
        width = len(str(self.count))
        return f"{self.index:0{width}d}-of-{self.count}"

    def of(self, inputs: InputList) -> InputList:
        """The inputs of this share, in the order of the list."""
        ranked = sorted(inputs.items, key=_rank)
        mine = set(ranked[self.index - 1 :: self.count])
        return replace(inputs, items=tuple(item for item in inputs.items if item in mine))


def parse_shard(text: str, environment: Mapping[str, str] = os.environ) -> Shard:
    """``3/10``; ``auto`` from a Slurm array; ``auto/10`` also from a Kubernetes indexed job,
    which does not tell its pods how many they are.

    Raises:
        UsageError: neither form, no such shard, or no array around us.
    """
    if match := _FORM.fullmatch(text):
        return Shard(int(match[1]), int(match[2]))
    if match := _AUTO.fullmatch(text):
        return _of_array(environment, int(match[1]) if match[1] else None)
    raise UsageError(f"not a shard: {text!r} ({_EXPLAINED})")


def _of_array(environment: Mapping[str, str], count: int | None) -> Shard:
    if "SLURM_ARRAY_TASK_ID" in environment:
        return _of_slurm(environment, count)
    if "JOB_COMPLETION_INDEX" in environment:
        if count is None:
            raise UsageError(
                "an indexed job does not say how many completions it has: "
                "write --shard auto/COMPLETIONS"
            )
        return Shard(_number(environment, "JOB_COMPLETION_INDEX") + 1, count)
    raise UsageError(
        f"--shard auto: neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX is set ({_EXPLAINED})"
    )


def _of_slurm(environment: Mapping[str, str], count: int | None) -> Shard:
    """``auto/n`` is for arrays 0-(n-1), of which a part may be submitted again; ``auto`` for
    whole arrays from any number on, with one step."""
    number = _number(environment, "SLURM_ARRAY_TASK_ID")
    if count is not None:
        if number >= count:
            raise UsageError(
                f"--shard auto/{count} belongs to an array 0-{count - 1}, not {number}"
            )
        return Shard(number + 1, count)
    size = _number(environment, "SLURM_ARRAY_TASK_COUNT")
    first = _number(environment, "SLURM_ARRAY_TASK_MIN", 0)
    last = _number(environment, "SLURM_ARRAY_TASK_MAX", first + size - 1)
    step = (last - first) // (size - 1) if size > 1 else 1
    if first + step * (size - 1) != last or number not in range(first, last + 1, step):
        raise UsageError(
            "--shard auto needs a Slurm array with one step, such as --array=0-9; "
            "for a part of one write --shard auto/COUNT"
        )
    return Shard((number - first) // step + 1, size)


def _number(environment: Mapping[str, str], name: str, missing: int | None = None) -> int:
    text = environment.get(name, "" if missing is None else str(missing))
    if not text.isascii() or not text.isdigit():
        raise UsageError(f"{name} is {text!r}, not a number: write --shard 3/10 instead of auto")
    return int(text)


def _rank(item: Input) -> tuple[bytes, str]:
    path = item.absolute
    return hashlib.sha256(os.fsencode(path)).digest(), path
