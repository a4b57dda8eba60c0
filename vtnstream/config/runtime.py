"""Configuration of a run: device, dtype, cache. It changes results only by rounding."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from vtnstream.errors import ConfigError

METHODS = ("chunked", "end-to-end")
EXPORT_FORMATS = ("pt2", "onnx")
EAGER = "eager"
"""Backend that runs a backbone in torch without a compiler."""
NUMPY = "numpy"
"""Backend that runs a whole model in numpy, without torch."""
BACKENDS = ("auto", NUMPY, EAGER, "inductor", "tensorrt")
DECODERS = ("auto", "software", "nvdec")
DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """Options that all inference commands share.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        dtype: precision of the model; ``auto`` depends on the device
            (:func:`vtnstream.models.precision.resolve_dtype`). Features are always stored as
            float32.
        backend: runtime of the backbone. ``auto`` is ``numpy`` for the bundled model, and others
            of its layout, on a CPU in float32
            (:class:`vtnstream.inference.numpy_model.NumpyModel`). Otherwise it is torch, which
            compiles the backbone if the expected saving exceeds the compile time
            (:meth:`vtnstream.encoding.engines.choose.Engines.choose`).
        decoder: ``software``, or ``nvdec`` on the GPU that runs the backbone; ``auto`` uses NVDEC
            if its frames equal those of software decoding.
        batch_size: frames per backbone call; it is stored with the features and reused. None lets
            vtnstream choose.
        cache_dir: directory of stored features; None is the user's cache directory.
        use_cache: False uses a temporary store that is removed afterwards.
        threads: CPU threads of the model; None keeps torch's number, in numpy all cores. The
            decoder always uses one thread, because damaged files decode differently with several.
        cache_limit_bytes: size of the cache above which the least recently used features are
            removed.
        spool_limit_bytes: largest temporary copy of a video from a pipe or from a server without
            range requests.
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
    """Return ``$VTNSTREAM_CACHE_DIR``, else the user's cache directory.

    Raises:
        ConfigError: there is no home directory.
    """
    import platformdirs

    if chosen := os.environ.get("VTNSTREAM_CACHE_DIR"):
        return Path(chosen)
    try:
        return Path(platformdirs.user_cache_dir("vtnstream"))
    except RuntimeError as error:  # no home directory, as in some containers
        raise ConfigError(
            "no home directory for the cache: choose a directory with --cache-dir or "
            "VTNSTREAM_CACHE_DIR"
        ) from error
