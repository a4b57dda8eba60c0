"""Compile an exported program to a shared library with AOTInductor (``torch._inductor``).

Runs in the child process that compiles. If this release of torch has no such compiler, or one
with other options, :class:`~vtnstream.errors.EngineError` is raised and the uncompiled network
stays in use.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vtnstream.errors import EngineError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

_NEEDED = ("freezing", "aot_inductor.output_path")
"""Required options, without which the library would be slow or in another place; the others save
time."""


def compile_library(program: ExportedProgram, path: Path, threads: int) -> Path:
    """Compile a program for the device of its example inputs.

    Args:
        program: exported with one example input.
        path: of the library to be written; its folder does not exist yet.
        threads: of each call (CPU).

    Returns:
        the library; its sources, and the kernels of a GPU, are in the same folder.

    Raises:
        EngineError: this release of torch has another compiler.
    """
    wanted: dict[str, Any] = {
        "freezing": True,  # folds batch norms, packs weights: ResNet-50 15.4 -> 17.9 frames/s
        "cpp.threads": threads,
        # Saves a seventh of the compilation time; the wrapper only calls the kernels.
        "aot_inductor.compile_wrapper_opt_level": "O0",
        "aot_inductor.output_path": str(path),
        # They save nothing in a single compilation and need an openssl program.
        "aot_inductor.precompile_headers": False,
        "cpp_cache_precompile_headers": False,
    }
    compiler, known = _compiler()
    missing = [name for name in _NEEDED if name not in known]
    if missing:
        raise EngineError(f"the compiler of torch {torch.__version__} has no option {missing[0]}")
    options = {name: value for name, value in wanted.items() if name in known}
    assert program.example_inputs is not None
    examples, _ = program.example_inputs
    with torch.no_grad():
        return Path(str(compiler(program.module(), examples, options=options)))


def _compiler() -> tuple[Any, set[str]]:
    """Return torch's compiler and the names of its options.

    Raises:
        EngineError: there is none, or it takes other arguments.
    """
    try:
        import torch._inductor as inductor

        compiler, known = inductor.aot_compile, set(inductor.list_options())
        takes = inspect.signature(compiler).parameters
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise EngineError(f"torch {torch.__version__} has no AOTInductor ({error})") from error
    if "options" not in takes:
        raise EngineError(f"AOTInductor of torch {torch.__version__} takes no options")
    return compiler, known
