"""Cache the facts of a loaded model, so that stored results need no torch.

The facts are computed again if the files of the model, vtnstream's code, the libraries, the
processor or a setting that could change a number is different.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from vtnstream.config import ModelConfig, RuntimeConfig
from vtnstream.config.loading import from_dict, to_dict
from vtnstream.config.runtime import default_cache_dir
from vtnstream.config.shipped import BUNDLED_MODEL, bundled_model
from vtnstream.errors import StoreError, VtnstreamError
from vtnstream.features.key import FileState
from vtnstream.features.store import read_json, write_json
from vtnstream.inference.report import about_model
from vtnstream.machine import num_cores

_SCHEMA = 2
_LIBRARIES = ("torch", "torchvision", "timm", "transformers", "numpy", "av", "safetensors")
_SETTINGS = (
    "VTNSTREAM_",
    "OMP_",
    "OPENBLAS_",
    "MKL_",
    "KMP_",
    "TORCH",
    "ATEN_",
    "DNNL_",
    "ONEDNN_",
    "CUDA_",
)
_OWN_SETTINGS = ("TORCHINDUCTOR_", "KMP_DUPLICATE_LIB_OK")
"""Set by torch when it compiles, and by threadpoolctl when it is imported."""
_FILES = ("config.json", "model.safetensors")


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Facts of a loaded VTN for reports and feature keys.

    Attributes:
        config: of the model.
        weights_sha256: hash of all weights, and ``backbone_sha256`` of those of the backbone.
        device: where it runs, always the CPU.
        dtype: its precision, never ``auto``.
        backends: backends whose features satisfy a request, the preferred one first.
        workers: threads that call the backbone.
        attention: how the temporal encoder attends, or None.
        environment: hash of everything else that could change a number.
        torch: version of torch, or None where numpy computes.
        numpy: version of numpy where it computes.
    """

    config: ModelConfig
    weights_sha256: str
    backbone_sha256: str
    device: str
    dtype: str
    backends: tuple[str, ...]
    workers: int
    attention: str | None
    environment: str
    torch: str | None = None
    numpy: str | None = None

    def about(self, source: str | None) -> dict[str, Any]:
        """Return the section ``model`` of a report."""
        return about_model(self.config, self.weights_sha256, source)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "config": to_dict(self.config)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ModelFacts:
        """Read facts from JSON data.

        Raises:
            ConfigError, KeyError, TypeError: the data are of another version.
        """
        config = from_dict(ModelConfig, data["config"], where="stored facts")
        return cls(**{**data, "config": config, "backends": tuple(data["backends"])})


def model_folder(model: str | Path | None) -> Path | None:
    """Return the folder of a model on this machine; None for other names."""
    if model is None:
        return bundled_model()
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    return bundled_model() if str(model) == BUNDLED_MODEL else None


@dataclass(frozen=True, slots=True)
class FactsFile:
    """The cached facts of one model under one runtime.

    Attributes:
        path: the file.
        environment: hash for :attr:`ModelFacts.environment`.
    """

    path: Path
    environment: str

    @classmethod
    def of(cls, model: str | Path | None, runtime: RuntimeConfig) -> FactsFile | None:
        """Return the file for the facts of a model with its current files.

        None if the model has no folder, without a cache, and if a GPU may be used.
        """
        folder = model_folder(model)
        if folder is None or not runtime.use_cache or runtime.device not in ("auto", "cpu"):
            return None
        if runtime.device == "auto" and may_have_gpu():
            return None
        try:
            states = [asdict(FileState.of(folder / name)) for name in _FILES]
        except VtnstreamError:
            return None
        environment = _environment(runtime)
        key = [_SCHEMA, states, runtime.dtype, runtime.backend, environment]
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        root = runtime.cache_dir or default_cache_dir()
        return cls(root / "facts" / f"{name[:40]}.json", environment)

    def read(self) -> ModelFacts | None:
        """Return the facts, or None if there are none."""
        try:
            data = read_json(self.path)
            return None if data is None else ModelFacts.from_dict(data)
        except (VtnstreamError, KeyError, TypeError):
            return None

    def write(self, facts: ModelFacts) -> None:
        """Write the facts. Errors are ignored: the next run loads the model instead."""
        with suppress(StoreError, OSError):
            if not self.path.exists():
                self.path.parent.mkdir(parents=True, exist_ok=True)
                write_json(self.path, facts.as_dict(), durable=False)


def may_have_gpu() -> bool:
    """Return whether a GPU of NVIDIA may be here, without asking a library."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()


def _environment(runtime: RuntimeConfig) -> str:
    """Return the hash of everything that could change a number, besides model, video and
    request."""
    settings = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_SETTINGS) and not name.startswith(_OWN_SETTINGS)
    }
    facts = [_code(), _versions(), _processor(), settings, num_cores(), runtime.threads]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@functools.cache
def _code() -> list[list[Any]]:
    """Return the names, sizes and times of vtnstream's modules.

    In a checkout, code changes between releases.
    """
    root = Path(__file__).resolve().parents[1]
    states = []
    for folder, _, names in os.walk(root):
        for name in names:
            if name.endswith(".py"):
                status = os.stat(os.path.join(folder, name))
                states.append([os.path.join(folder, name), status.st_size, status.st_mtime_ns])
    return sorted(states)


@functools.cache
def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


@functools.cache
def _processor() -> str:
    """Return the model and the instruction sets of the processor."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    lines = text.split("\n\n", 1)[0].splitlines()
    return "\n".join(x for x in lines if x.startswith(("model name", "flags", "Features")))
