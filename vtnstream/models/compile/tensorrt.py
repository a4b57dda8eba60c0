"""TensorRT through torch-tensorrt (the extra ``tensorrt``).

The backbone becomes an engine for one type of NVIDIA GPU, built ahead of time with
``torch_tensorrt.dynamo.compile``; ``torch.compile(backend="tensorrt")`` writes no file that could
be loaded later. Preprocessing stays in torch: it is a thousandth of the work, and TensorRT's layers
do not take bytes.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
import io
import threading
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vtnstream.errors import MissingExtraError
from vtnstream.models.compile.backend import Engine, EngineError, export_quietly
from vtnstream.models.frame_network import FrameNetwork
from vtnstream.optional import install_command, require

if TYPE_CHECKING:
    from torch.export import ExportedProgram

_PROGRAM = "model.pt2"
EXTRA = "tensorrt"
_DISTRIBUTIONS = ("torch-tensorrt", "tensorrt", "tensorrt-cu12", "tensorrt-cu13")


class TensorRT:
    """Written for torch-tensorrt 2.14, whose layers have the types of the network."""

    def missing(self, device: torch.device) -> str | None:
        if device.type != "cuda":
            return "it needs an NVIDIA GPU (--device cuda)"
        for module in ("torch_tensorrt", "tensorrt"):
            if importlib.util.find_spec(module) is None:
                return f"{module} is not installed: {install_command(EXTRA)}"
        return None

    def versions(self) -> dict[str, str]:
        found = {}
        for name in _DISTRIBUTIONS:
            try:
                found[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                continue
        return found

    def export(self, network: FrameNetwork, pixels: Tensor) -> ExportedProgram:
        with torch.no_grad():
            example = _input(network, pixels)
        return export_quietly(network.backbone, example)

    def build(self, program: ExportedProgram, folder: Path, threads: int) -> None:
        torch_tensorrt = _library()
        assert program.example_inputs is not None
        examples, _ = program.example_inputs
        # Its own caches stay off: they are in the temporary folder. Ours holds whole programs and
        # their dependencies.
        compile_program = torch_tensorrt.dynamo.compile
        compiled = compile_program(
            program, arg_inputs=list(examples), **compile_options(compile_program, examples[0])
        )
        torch_tensorrt.save(
            compiled,
            str(folder / _PROGRAM),
            output_format="exported_program",
            arg_inputs=list(examples),
            pickle_protocol=4,  # engines beyond 4 GB
        )

    def load(
        self, folder: Path, network: FrameNetwork, device: torch.device, workers: int
    ) -> Engine:
        torch_tensorrt = _library()
        try:
            # It prints a traceback before it raises, and torch 2.11 warns about its own files.
            with redirect_stderr(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                backbone = torch_tensorrt.load(str(folder / _PROGRAM)).module()
        except Exception as error:  # other versions raise many kinds of error
            first = str(error).strip().partition("\n")[0]
            raise EngineError(f"{folder / _PROGRAM}: cannot be loaded ({first})") from error
        lock = threading.Lock()

        def run(pixels: Tensor) -> Tensor:
            batch = _input(network, pixels)
            # One execution context: it must finish in one stream before it starts in another.
            with lock:
                features: Tensor = backbone(batch)  # (N, D)
                if device.type == "cuda":
                    torch.cuda.current_stream(device).synchronize()
            return features.float()

        return run


def compile_options(compile_program: Callable[..., Any], example: Tensor) -> dict[str, Any]:
    """Return the options of ``torch_tensorrt.dynamo.compile`` that preserve the network's results.

    From 2.11 on, ``attn_bias_is_causal`` is True unless it is given: an additive attention bias
    (BEiT's relative positions) would be taken for a causal mask. Older versions do not know it.

    Args:
        compile_program: the function of the installed version.
        example: input of the network, on its device.
    """
    options: dict[str, Any] = {
        "device": example.device,
        "disable_tf32": True,  # float32 was asked for, or the network is in half precision
        "cache_built_engines": False,
        "reuse_cached_engines": False,
    }
    known = inspect.signature(compile_program).parameters
    if "attn_bias_is_causal" in known:
        options["attn_bias_is_causal"] = False
    return options


def _library() -> Any:
    """Import torch-tensorrt.

    If TensorRT's own libraries cannot be loaded it prints to standard output, which is for results,
    and raises an error that is not an ImportError.

    Raises:
        MissingExtraError: it is not installed.
        EngineError: TensorRT's libraries cannot be loaded.
    """
    try:
        with redirect_stdout(io.StringIO()):
            return require("torch_tensorrt", EXTRA)
    except MissingExtraError:
        raise
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        raise EngineError(
            f"TensorRT's libraries cannot be loaded ({first}): install them again with "
            f"{install_command(EXTRA)}"
        ) from error


def _input(network: FrameNetwork, pixels: Tensor) -> Tensor:
    """Return the input of the engine: (N, 3, H, W), channels first in memory as well."""
    return network.prepare(pixels).contiguous()
