"""Split a list of inputs between machines: ``--shard i/n``, Slurm arrays, Kubernetes indexed jobs.

Inputs are distributed in the order of a hash of their path. All machines therefore agree on the
shares whatever the order of the list, shares differ by one video at most, and a pattern in a folder
(long, short, long, short) does not end up in one share.
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
        """Part of a file name; names sort in the order of the shards."""
        width = len(str(self.count))
        return f"{self.index:0{width}d}-of-{self.count}"

    def of(self, inputs: InputList) -> InputList:
        """Return the inputs of this share, in the order of the list."""
        ranked = sorted(inputs.items, key=_rank)
        mine = set(ranked[self.index - 1 :: self.count])
        return replace(inputs, items=tuple(item for item in inputs.items if item in mine))


def parse_shard(text: str, environment: Mapping[str, str] = os.environ) -> Shard:
    """Parse ``3/10``, ``auto`` (in a Slurm array) or ``auto/10`` (also in a Kubernetes indexed job,
    whose pods do not know their number).

    Raises:
        UsageError: another form, no such shard, or ``auto`` outside an array or indexed job.
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
                "--shard auto: an indexed job does not state its number of completions: "
                "write --shard auto/COMPLETIONS"
            )
        return Shard(_number(environment, "JOB_COMPLETION_INDEX") + 1, count)
    raise UsageError(
        f"--shard auto: neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX is set ({_EXPLAINED})"
    )


def _of_slurm(environment: Mapping[str, str], count: int | None) -> Shard:
    """Return the shard of a Slurm task.

    ``auto/n`` is for arrays 0-(n-1), parts of which may be submitted again; ``auto`` is for
    whole arrays with any start and one step.
    """
    number = _number(environment, "SLURM_ARRAY_TASK_ID")
    if count is not None:
        if number >= count:
            raise UsageError(
                f"--shard auto/{count} needs an array 0-{count - 1}, but this is task {number}"
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
