"""``vtnstream doctor``: check this installation and machine."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

import vtnstream
from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.fields import attach
from vtnstream.cli.framework.settings import config_files
from vtnstream.cli.framework.tables import print_facts
from vtnstream.cli.framework.types import format_size
from vtnstream.cli.options import running, shared
from vtnstream.machine import num_cores
from vtnstream.optional import extras
from vtnstream.wording import plural

_PACKAGES = ("torch", "torchvision", "timm", "transformers", "av", "numpy", "safetensors")
_COMPILERS = ("gcc", "g++", "clang", "nvcc")
_CPU_FLAGS = ("amx_bf16", "amx_tile", "avx512_bf16", "avx512f", "avx2", "bf16", "asimd")
_EXTRA_USES = {
    "tensorrt": "faster backbones on NVIDIA",
    "train": "training on several devices",
    "ray": "clusters",
    "remote": "object stores",
    "formats": "editing and annotation formats",
    "library": "libraries of many videos",
    "studio": "results and corrections in the browser",
    "words": "search in words",
    "export": "ONNX",
    "backbone": "weights of a backbone without the Hub",
    "bench": "benchmarks",
    "docs": "building the documentation",
    "dev": "developing vtnstream",
}
_LITTLE_SPACE = 2 * 2**30

_EXAMPLES = """
vtnstream doctor
vtnstream doctor --json > report.json
"""


@click.command(cls=Command, examples=_EXAMPLES)
@shared.as_json
@attach(running.cache_dir)
@running.messages
@click.pass_obj
def doctor(console: Console, /, **values: Any) -> ExitCode:
    """Check this installation and machine: versions, decoders, devices, precisions, disk space.

    The exit code is 1 if a problem would keep vtnstream from running.
    """
    problems: list[str] = []
    facts = {
        "vtnstream": vtnstream.__version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "packages": _packages(_PACKAGES, problems),
        "extras": _extras(),
        "decoding": _decoding(problems),
        "devices": _devices(problems),
        "bundled_model": _bundled_model(),
        "compilers": {name: path for name in _COMPILERS if (path := shutil.which(name))},
        "cache": _cache(values["cache_dir"], problems),
        "config_files": [str(path) for path in config_files()],
        "variables": sorted(name for name in os.environ if name.startswith("VTNSTREAM_")),
        "problems": problems,
    }
    if values["json"]:
        console.out(json.dumps(facts, indent=2))
    else:
        print_facts(console, _lines(facts))
    for problem in problems:
        console.error(problem)
    return ExitCode.FAILED if problems else ExitCode.OK


def _extras() -> dict[str, str | None]:
    """Return the version of the first package of each extra; None unless all its packages are
    installed."""
    found: dict[str, str | None] = {}
    for extra, names in extras().items():
        versions = [_version(name) for name in names]
        found[extra] = versions[0] if all(versions) else None
    return found


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _packages(names: tuple[str, ...], problems: list[str]) -> dict[str, str | None]:
    found = {name: _version(name) for name in names}
    for name in (name for name, there in found.items() if there is None):
        problems.append(f"{name} is not installed: reinstall vtnstream")
    try:
        import torchvision  # noqa: F401 - a pair that does not match fails here
    except Exception as error:
        problems.append(
            f"torch and torchvision do not match ({type(error).__name__}): reinstall both in one "
            "pip command"
        )
    return found


def _decoding(problems: list[str]) -> dict[str, Any]:
    try:
        from vtnstream.video.libraries import library_versions

        return library_versions()
    except ImportError as error:
        problems.append(f"videos cannot be decoded ({error}): reinstall av")
        return {}


def _devices(problems: list[str]) -> dict[str, Any]:
    try:
        import torch
    except Exception as error:
        problems.append(f"torch cannot be imported ({error}): reinstall it")
        return {}
    flags = _cpu_flags()
    devices: dict[str, Any] = {
        "cpu": {
            "name": _cpu_name(),
            "cores": num_cores(),
            "torch_threads": torch.get_num_threads(),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "flags": flags,
            "bfloat16": _bfloat16(flags),
            "backbone": _backbone("cpu"),
        }
    }
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        devices[f"cuda:{index}"] = {
            "name": properties.name,
            "memory_bytes": properties.total_memory,
            "capability": f"{properties.major}.{properties.minor}",
            "bfloat16": "fast" if properties.major >= 8 else "slow",
            "float16": "fast" if properties.major >= 7 else "slow",
            "backbone": _backbone(f"cuda:{index}"),
        }
    return devices


def _backbone(name: str) -> dict[str, Any]:
    """Return the choices of `--dtype auto` and `--backend auto` for a long video on a device,
    why each other backend cannot run there, and what `--backend inductor` and `tensorrt` compile
    the temporal encoder with."""
    import torch

    from vtnstream.models.compile.backend import BACKENDS, EAGER, PREFERRED, get_backend
    from vtnstream.models.precision import resolve_dtype
    from vtnstream.models.vtn import compiled_encoder

    device = torch.device(name)
    missing = {backend: get_backend(backend).missing(device) for backend in BACKENDS}
    able = [backend for backend in PREFERRED[device.type] if missing[backend] is None]
    return {
        "dtype": resolve_dtype("auto", device),
        "backend": able[0] if able else EAGER,
        "missing": {backend: why for backend, why in missing.items() if why},
        "temporal_encoder": compiled_encoder.missing(device) or compiled_encoder.INDUCTOR,
    }


def _bundled_model() -> str:
    """Return what `--backend auto` runs the bundled model with."""
    from vtnstream.config import RuntimeConfig
    from vtnstream.inference.numpy_model import NumpyModel

    found = NumpyModel.of(None, RuntimeConfig(), None)
    return "torch" if found is None else f"numpy, {found.encoder.dtype} on cpu, without torch"


def _cpu_flags() -> list[str]:
    """Return the CPU flags of this processor that decide which precision is fast (Linux only)."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    words = set(text.split())
    return [flag for flag in _CPU_FLAGS if flag in words]


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _bfloat16(flags: list[str]) -> str:
    for flag, name in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX-512 BF16"), ("bf16", "BF16")):
        if flag in flags:
            return f"fast ({name})"
    return "slow (no AMX or AVX-512 BF16 here): float32 is faster"


def _cache(chosen: Path | None, problems: list[str]) -> dict[str, Any]:
    from vtnstream.config.runtime import default_cache_dir
    from vtnstream.features.cache import FeatureCache

    place = (chosen or default_cache_dir()).absolute()
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    writable = there.is_dir() and os.access(there, os.W_OK)
    if not writable:
        problems.append(f"{place}: not writable; choose another --cache-dir")
    elif free < _LITTLE_SPACE:
        problems.append(f"{place}: only {format_size(free)} free; choose another --cache-dir")
    entries = FeatureCache(place).entries()
    return {
        "directory": str(place),
        "writable": writable,
        "free_bytes": free,
        "stores": len(entries),
        "used_bytes": sum(entry.size_bytes for entry in entries),
    }


def _lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    decoding, cache = facts["decoding"], facts["cache"]
    lines = [(name, facts[name]) for name in ("vtnstream", "python", "platform")]
    lines += [(name, found or "not installed") for name, found in facts["packages"].items()]
    lines += [
        (f"extra {name}", found or f"not installed ({_EXTRA_USES.get(name, 'optional')})")
        for name, found in facts["extras"].items()
    ]
    if decoding:
        lines.append(("ffmpeg", decoding["ffmpeg"]))
        lines.append(("decoders", ", ".join(decoding["decoders"])))
        lines.append(("hardware decoders", ", ".join(decoding["hardware"]) or "none"))
    for name, device in facts["devices"].items():
        memory = device.get("memory_bytes")
        size = f"{device['cores']} cores" if memory is None else format_size(memory)
        lines.append((name, f"{device['name']}, {size}, {device['capability']}"))
        lines.append((f"{name} bfloat16", device["bfloat16"]))
        chosen = device["backbone"]
        lines.append(
            (f"{name} backbone", f"{chosen['dtype']}, {chosen['backend']} for long videos")
        )
        lines.append((f"{name} temporal encoder", chosen["temporal_encoder"]))
        lines += [
            (f"{name} unavailable", f"{backend}: {why}")
            for backend, why in chosen["missing"].items()
        ]
    lines.append(("bundled model", facts["bundled_model"]))
    found = facts["compilers"]
    lines.append(("compilers", ", ".join(found) or "none (torch.compile needs one)"))
    used = f"{plural(cache['stores'], 'store')}, {format_size(cache['used_bytes'])}"
    lines.append(
        ("cache", f"{cache['directory']} ({used}, {format_size(cache['free_bytes'])} free)")
    )
    lines.append(("config files", ", ".join(facts["config_files"]) or "none"))
    lines.append(("variables", ", ".join(facts["variables"]) or "none"))
    return lines
