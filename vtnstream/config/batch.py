"""Configuration of a batch: workers, limits and retries. It does not affect the results."""

from __future__ import annotations

from dataclasses import dataclass

from vtnstream.errors import ConfigError


@dataclass(frozen=True, slots=True)
class BatchConfig:
    """Options of ``vtnstream batch``.

    Attributes:
        workers: parallel processes; None is one per GPU, or without a GPU one per two CPU cores,
            limited by memory.
        timeout: longest time per video in seconds; None sets no limit.
        memory_limit_bytes: a worker that uses more is stopped and its video fails; None is an
            equal share of the memory of the machine (or of its control group).
        recycle: number of videos after which a worker process is replaced. Starting one takes the
            time of some fifty short clips, and a worker grew by 3 MB over 250 of them.
        retries: further attempts at a video whose worker crashed.
        retry_failed: repeat videos that failed in an earlier run with the same settings.
        overwrite: repeat videos that are complete.
        fail_fast: stop at the first failure.
        range_seconds: length in seconds of the parts that long videos are split into on a cluster.
    """

    workers: int | None = None
    timeout: float | None = None
    memory_limit_bytes: int | None = None
    recycle: int = 1000
    retries: int = 1
    retry_failed: bool = False
    overwrite: bool = False
    fail_fast: bool = False
    range_seconds: float = 600.0

    def __post_init__(self) -> None:
        for name in ("workers", "timeout", "memory_limit_bytes", "recycle", "range_seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name.replace('_', ' ')} must be positive, not {value}")
        if self.retries < 0:
            raise ConfigError(f"retries cannot be negative: {self.retries}")
