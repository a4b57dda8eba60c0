"""How a batch is worked off: workers, limits and second attempts, never what comes out."""

from __future__ import annotations

from dataclasses import dataclass

from vtnstream.errors import ConfigError


@dataclass(frozen=True, slots=True)
class BatchConfig:
    """Options of ``vtnstream batch``.

    Attributes:
        workers: processes side by side; None is one a GPU, or one for two processor cores
            where there is none, as far as memory reaches.
        timeout: seconds a video may take; None sets no limit.
        memory_limit_bytes: a worker that grows beyond is ended and its video fails; None is
            an equal share of the memory of the machine (or of its control group).
        recycle: videos after which a worker is replaced by a fresh one.
        retries: further attempts at a video whose worker crashed.
        retry_failed: try again what failed in an earlier run with the same settings.
        overwrite: do again what is complete already.
        fail_fast: stop at the first failure.
        range_seconds: length of the parts that a cluster cuts long videos into.
    """

    workers: int | None = None
    timeout: float | None = None
    memory_limit_bytes: int | None = None
    recycle: int = 200
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
