"""How to run, never what comes out (beyond rounding): device, dtype, cache."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from vtnstream.errors import ConfigError

METHODS = ("chunked", "end-to-end")
EXPORT_FORMATS = ("pt2", "onnx")
BACKENDS = ("auto", "eager", "inductor", "tensorrt")
DECODERS = ("auto", "software", "nvdec")
DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """Options every inference command shares.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        dtype: compute type of the model; ``auto`` is what the device is fast at
            (:func:`vtnstream.models.precision.resolve_dtype`). Features are stored as float32
            whatever it is.
        backend: what runs the backbone; ``auto`` is what is fast on the device and worth its
            making (:meth:`vtnstream.encoding.engines.choose.Engines.choose`).
        decoder: ``software``; ``nvdec``, on the GPU that runs the backbone; ``auto`` is the latter
            on such a GPU where it gives the same pictures.
        batch_size: frames a backbone call, recorded with stored features and reused; None
            leaves the choice to vtnstream.
        cache_dir: where features are kept; None is the user's cache directory.
        use_cache: False works in a temporary store that is removed afterwards.
        threads: processor cores for the model; None leaves torch's number as it is. The decoder
            always has one of its own: with more, damaged files decode differently.
        cache_limit_bytes: least recently used features go when the store grows beyond.
        spool_limit_bytes: longest temporary copy of a video that comes through a pipe or from a
            server that gives no parts.
    """

    device: str = "auto"
    dtype: str = "auto"
    backend: str = "auto"
    decoder: str = "auto"
    batch_size: int | None = None
    cache_dir: Path | None = None
    use_cache: bool = True
    cache_limit_bytes: int = 20 * 2**30
    spool_limit_bytes: int = 20 * 2**30
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype must be one of {', '.join(DTYPES)}, not {self.dtype!r}")
        if self.backend not in BACKENDS:
            names = ", ".join(BACKENDS)
            raise ConfigError(f"backend must be one of {names}, not {self.backend!r}")
        if self.decoder not in DECODERS:
            names = ", ".join(DECODERS)
            raise ConfigError(f"decoder must be one of {names}, not {self.decoder!r}")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads must be at least 1, not {self.threads}")
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(f"batch size must be at least 1, not {self.batch_size}")


def default_cache_dir() -> Path:
    """``$VTNSTREAM_CACHE_DIR``, else the user's cache directory.

    Raises:
        ConfigError: the user has none.
    """
    import platformdirs

    if chosen := os.environ.get("VTNSTREAM_CACHE_DIR"):
        return Path(chosen)
    try:
        return Path(platformdirs.user_cache_dir("vtnstream"))
    except RuntimeError as error:  # a user without a home, as in containers
        raise ConfigError(
            "there is no home directory for the cache: name one with --cache-dir or "
            "VTNSTREAM_CACHE_DIR"
        ) from error
