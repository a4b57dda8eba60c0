"""Run a shared library of AOTInductor through its C interface.

Torch's Python binding of the same library holds the interpreter's lock while it computes: the
decoder could read one packet per batch, and two threads would take turns. The C interface and
the two functions that turn tensors into its handles are checked before a library is used; if
they are not as expected, :class:`~vtnstream.errors.EngineError` is raised and the uncompiled
network stays in use.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vtnstream.errors import EngineError
from vtnstream.process_memory import page_out_file


class CompiledLibrary:
    """A compiled network with one input tensor and one output tensor; it owns its weights.

    Args:
        path: the library, with a GPU's kernels in the same folder. Loading it runs its code: the
            caller trusts it.
        device: the one it was compiled for.
        workers: threads that may call it at once. Each has an instance of the model; all share the
            weights.

    Raises:
        EngineError: it cannot be loaded, or this release of torch has another interface.
    """

    def __init__(self, path: Path, device: torch.device, workers: int) -> None:
        problem = interface_problem()
        if problem is not None:
            raise EngineError(f"{path}: cannot be loaded ({problem})")
        self._device = device
        self._handle = ctypes.c_void_p()
        try:
            self._library = ctypes.CDLL(str(path))
            create = self._library.AOTInductorModelContainerCreateWithDevice
            delete = self._library.AOTInductorModelContainerDelete
            self._run = self._library.AOTInductorModelContainerRun
        except (OSError, AttributeError) as error:
            raise EngineError(f"{path}: cannot be loaded ({error})") from error
        name = str(device).encode()
        # Without a folder, kernels would be looked for where they were compiled.
        kernels = os.fsencode(path.parent)
        # On a GPU the call would change the current device of this thread.
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            failed = create(ctypes.byref(self._handle), ctypes.c_size_t(workers), name, kernels)
        if failed:
            raise EngineError(f"{path}: cannot be loaded")
        page_out_file(path)  # the weights have been copied out of it
        # Not at the end of the process: other threads may still be computing.
        weakref.finalize(self, delete, self._handle).atexit = False
        self._check_counts(path)

    def _check_counts(self, path: Path) -> None:
        """Check that the library has one input and one output; otherwise a call would write
        beyond its arrays."""
        for what in ("Inputs", "Outputs"):
            ask = getattr(self._library, f"AOTInductorModelContainerGetNum{what}", None)
            count = ctypes.c_size_t()
            if ask is None or ask(self._handle, ctypes.byref(count)) or count.value != 1:
                raise EngineError(f"{path}: cannot be loaded (number of {what.lower()} is not 1)")

    def __call__(self, example: Tensor) -> Tensor:
        """Run the library on a tensor of the compiled shape and type.

        Raises:
            EngineError: the library reports an error.
        """
        # The library takes over the input's handle, and we take over the output's.
        inputs = (ctypes.c_void_p * 1)(_handle_of(example))
        outputs = (ctypes.c_void_p * 1)()
        stream = None
        if self._device.type == "cuda":
            stream = ctypes.c_void_p(torch.cuda.current_stream(self._device).cuda_stream)
        one = ctypes.c_size_t(1)
        failed = self._run(self._handle, inputs, one, outputs, one, stream, None)
        result = outputs[0]
        if failed or result is None:
            raise EngineError("the compiled backbone failed: use --backend eager")
        return _tensor_of(result)


@cache
def interface_problem() -> str | None:
    """Return why torch's tensor handles cannot be used, or None.

    The check passes a tensor to a handle and back, once per process.
    """
    try:
        sent = torch.arange(6.0, device="cpu").view(2, 3)
        received = _tensor_of(_handle_of(sent))
        right = received.data_ptr() == sent.data_ptr() and torch.equal(received, sent)
    except Exception as error:  # another signature raises many kinds of error
        return f"torch {torch.__version__} has another interface to tensors: {error}"
    return None if right else f"torch {torch.__version__} changes tensors on their way to it"


def _handles() -> Any:
    """Return torch's functions that convert between tensors and handles."""
    return torch._C._aoti


def _handle_of(tensor: Tensor) -> int:
    """Return a handle of the tensor; the receiver must free it."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    handle: int = pointer(_handles().unsafe_alloc_void_ptr_from_tensor(tensor), None)
    return handle


def _tensor_of(handle: int) -> Tensor:
    """Return the tensor of a handle, and free the handle."""
    new = ctypes.pythonapi.PyCapsule_New
    new.restype = ctypes.py_object
    new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    # The function for a single tensor does not free the handle, and with it the tensor.
    capsules = [new(handle, None, None)]
    tensors: list[Tensor] = _handles().alloc_tensors_by_stealing_from_void_ptrs(capsules)
    return tensors[0]
