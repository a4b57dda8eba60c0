"""Export and compile in a child process.

The memory of the compiler is released with the child, a crash becomes an error message, and an
interrupt ends the children of the compiler as well.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from vtnstream.models.compile.backend import EngineError, get_backend
from vtnstream.models.frame_network import FrameNetwork

_POLL_SECONDS = 0.1
_NETWORK = "network.pt"
_LAST_LINES = ("compilation terminated.", "collect2: error: ld returned")
"""Output of g++ after the line with the reason."""
_CODE = "from vtnstream.models.compile.child import main; main()"


def compile_in_child(
    backend: str,
    network: FrameNetwork,
    pixels: Tensor,
    folder: Path,
    *,
    threads: int,
    on_wait: Callable[[float], None],
) -> float:
    """Run :meth:`Backend.export` and :meth:`Backend.build` in a child process.

    Args:
        backend: name of the compiler.
        network: to compile.
        pixels: an example batch (N, H, W, 3) of the shape the engine will be called with.
        folder: private and empty; afterwards it holds the files of the engine and no others.
        threads: see :meth:`Backend.build`.
        on_wait: called several times a second with the elapsed seconds.

    Returns:
        elapsed seconds.

    Raises:
        EngineError: the network cannot be sent to the child, or the compiler failed.
    """
    began = time.perf_counter()
    folder = folder.absolute()  # compilers run programs in other working directories
    working = folder.with_name(f"{folder.name}.work")
    working.mkdir(mode=0o700)
    try:
        _save_input(network, pixels, working / _NETWORK)
        arguments = [sys.executable, "-c", _CODE, backend, str(working), str(folder), str(threads)]
        with open(working / "log", "w+b") as log:
            child = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(working),
                start_new_session=True,
            )
            try:
                while child.poll() is None:
                    on_wait(time.perf_counter() - began)
                    time.sleep(_POLL_SECONDS)
            finally:
                _end(child)
            if child.returncode:
                log.seek(0)
                raise EngineError(_reason(log.read(), child.returncode))
    except OSError as error:
        raise EngineError(f"{folder}: cannot be compiled there ({error})") from error
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return time.perf_counter() - began


def _save_input(network: FrameNetwork, pixels: Tensor, path: Path) -> None:
    try:
        torch.save((network, pixels), path)
    except OSError:
        raise
    except Exception as error:  # pickling a module may raise many kinds of error
        first = str(error).strip().partition("\n")[0]
        raise EngineError(f"the backbone cannot be handed to the compiler ({first})") from error


def _environment(working: Path) -> dict[str, str]:
    """Return the environment of the child.

    All files that compilers write and load stay in our directory: by default they are in the
    system's temporary one, where other users can place files.
    """
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(part for part in sys.path if part),
        "TORCHINDUCTOR_CACHE_DIR": str(working / "inductor"),
        "TRITON_CACHE_DIR": str(working / "triton"),
        "TMPDIR": str(working),
    }


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill the child and its own children if it still runs."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError, AttributeError):
            os.killpg(child.pid, signal.SIGKILL)
        child.kill()
        child.wait()


def _reason(log: bytes, code: int) -> str:
    if code < 0:
        return f"the compiler was ended by signal {-code}"
    lines = log.decode(errors="replace").split("\n")
    ours = f"{EngineError.__module__}.{EngineError.__qualname__}: "
    output = [line.strip().removeprefix(ours) for line in lines if line.strip()]
    while output and output[-1].startswith(_LAST_LINES):
        output.pop()
    return f"the compiler failed ({output[-1][:300] if output else f'code {code}'})"


def main() -> None:
    """Run the child process; its arguments are ``backend working-folder engine-folder threads``."""
    backend, working, folder, threads = sys.argv[1:]
    warnings.simplefilter("ignore")
    # The parent has just written it into a folder that only this user can read.
    network, pixels = torch.load(Path(working) / _NETWORK, weights_only=False)
    if pixels.is_cuda:
        torch.cuda.set_device(pixels.device)  # compilers query the current device
    compiler = get_backend(backend)
    try:
        program = compiler.export(network, pixels)
    except Exception as error:  # torch.export raises many kinds of error
        first = str(error).strip().partition("\n")[0]
        sys.exit(f"the backbone cannot be exported: {first}")
    del network
    compiler.build(program, Path(folder), int(threads))
