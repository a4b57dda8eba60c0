"""AOTInductor: the network as a shared library, for CPUs (with a C++ compiler) and CUDA (with
Triton as well). It loads in hundredths of a second, without torch's compiler."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vtnstream.models.compile.backend import Engine, EngineError, export_quietly
from vtnstream.models.frame_network import FrameNetwork
from vtnstream.models.torch_internals.aoti_compiler import compile_library
from vtnstream.models.torch_internals.aoti_library import CompiledLibrary

if TYPE_CHECKING:
    from torch.export import ExportedProgram

_LIBRARY = "model.so"
_KERNELS = (".cubin", ".hsaco")
"""Suffixes of GPU kernels, which the library reads from its own folder."""
_CALL_OF_PYTHON = "aoti_torch_proxy_executor_call_function("


class Inductor:
    """The compiler of ``torch.compile``, ahead of time."""

    def missing(self, device: torch.device) -> str | None:
        compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
        if sys.platform == "win32":
            return "it has not been tried on Windows"
        if shutil.which(compiler) is None:
            return f"no C++ compiler ({compiler}) is installed; CXX names another"
        if device.type == "cuda" and importlib.util.find_spec("triton") is None:
            return "triton is not installed"
        if device.type == "cuda" and _toolkit() is None:
            return "no CUDA toolkit (nvcc and its headers) is installed; CUDA_HOME names another"
        return None

    def versions(self) -> dict[str, str]:
        return {}

    def export(self, network: FrameNetwork, pixels: Tensor) -> ExportedProgram:
        return export_quietly(network, pixels)

    def build(self, program: ExportedProgram, folder: Path, threads: int) -> None:
        assert program.example_inputs is not None
        examples, _ = program.example_inputs
        home = _toolkit() if examples[0].is_cuda else None
        if home is not None:
            # torch links against the toolkit's stub of the driver only if the variable is set; the
            # stub may be in a folder that linkers do not search.
            os.environ["CUDA_HOME"] = str(home)
        library = compile_library(program, folder / "made" / _LIBRARY, threads)
        for source in library.parent.glob("*.cpp"):
            # Operations that exist only in Python need an executor, which the library does not get.
            if _CALL_OF_PYTHON in source.read_text():
                raise EngineError("the backbone holds operations that cannot be compiled")
        for file in library.parent.iterdir():
            if file == library or file.suffix in _KERNELS:
                shutil.move(file, folder / file.name)
        # Pages that are not on disk yet cannot be released by the process that loads the file.
        with open(folder / library.name, "rb") as written:
            os.fsync(written.fileno())
        shutil.rmtree(library.parent)

    def load(
        self, folder: Path, network: FrameNetwork, device: torch.device, workers: int
    ) -> Engine:
        return CompiledLibrary(folder / _LIBRARY, device, workers)


def _toolkit() -> Path | None:
    """Return the folder of a CUDA toolkit with all headers; torch's packages have only some of
    them."""
    compiler = shutil.which("nvcc")
    places = [Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if name in os.environ]
    if not places:
        found = [Path(compiler), Path(compiler).resolve()] if compiler else []
        places = [*(path.parents[1] for path in found), Path("/usr/local/cuda")]
    for home in places:
        folders = [home / "include", *home.glob("targets/*/include")]
        if any((folder / "crt" / "host_config.h").is_file() for folder in folders):
            return home
    return None
