"""Describe the machine and the software of a measurement."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

PACKAGES = (
    *("vtnstream", "torch", "torchvision", "timm", "transformers", "av", "numpy"),
    *("opencv-python-headless", "torchcodec", "pytorchvideo", "torch-tensorrt"),
)
VECTOR_UNITS = (
    *("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_bf16", "amx_int8", "asimd", "bf16", "sve"),
)
"""Processor flags that determine how fast a backbone runs, and in which precision."""

BF16_UNITS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})

SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
"""Environment variables that change timings."""


def describe() -> dict[str, Any]:
    """Return the facts that readers need to compare measurements with their own."""
    return {
        "processor": processor_name(),
        "cores": cores(),
        "vector_units": vector_units(),
        "caches": caches(),
        "memory_bytes": memory_bytes(),
        "gpus": gpus(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "environment": {name: os.environ[name] for name in SETTINGS if name in os.environ},
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def sentence(machine: dict[str, Any]) -> str:
    """Describe the machine in two lines of text."""
    units = ", ".join(machine["vector_units"]) or "no vector units known"
    bf16 = "" if has_bf16(machine["vector_units"]) else " (no bf16 units)"
    cache = ", ".join(f"{level} {size}" for level, size in machine["caches"].items())
    gpu = "; ".join(machine["gpus"]) or "no CUDA GPU"
    versions = ", ".join(f"{name} {v}" for name, v in machine["packages"].items() if v)
    settings = "".join(f", {name}={value}" for name, value in machine["environment"].items())
    memory = f"{machine['memory_bytes'] / 2**30:.0f} GiB"
    return (
        f"{machine['processor']}, {machine['cores']} cores ({units}{bf16}; {cache}), {memory}, "
        f"{gpu}; load before: {machine['load_before']}  \n"
        f"{machine['system']}, Python {machine['python']}, {versions}{settings}"
    )


def processor_name() -> str:
    for line in _cpuinfo():
        if line.startswith(("model name", "Model", "Hardware")):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def vector_units() -> list[str]:
    for line in _cpuinfo():
        if line.startswith(("flags", "Features")):
            flags = set(line.partition(":")[2].split())
            return [unit for unit in VECTOR_UNITS if unit in flags]
    return []


def has_bf16(units: list[str] | None = None) -> bool:
    """Return whether this CPU multiplies bf16 in hardware; otherwise it is emulated and slow."""
    return bool(BF16_UNITS & set(vector_units() if units is None else units))


def caches() -> dict[str, str]:
    """Return the size of each cache of the first core."""
    sizes = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = (
                (index / name).read_text().strip() for name in ("level", "type", "size")
            )
        except OSError:
            continue
        if kind != "Instruction":
            sizes[f"L{level}"] = size
    return sizes


def memory_bytes() -> int:
    """Return the memory of the machine in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def gpus() -> list[str]:
    """Return the CUDA devices as the driver names them, without importing torch, which takes
    seconds."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    return [line.strip() for line in done.stdout.splitlines() if done.returncode == 0]


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
