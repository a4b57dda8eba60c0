"""Calls a shared library of AOTInductor through its C interface.

Torch's Python binding of the same library holds the interpreter's lock while it computes:
the decoder would get one packet through per batch, and two threads would take turns.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor

from vtnstream.models.compile.backend import EngineError
from vtnstream.models.resident import page_out_file

_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype = ctypes.c_void_p
_capsule_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


class CompiledLibrary:
    """One input tensor to one output tensor; up to ``workers`` threads at once. Its weights go
    with it.

    Args:
        path: the library, with a GPU's kernels beside it. Loading it runs its code: the caller
            trusts it.
        device: as it was compiled for.
        workers: instances of the model in it; they share the weights.

    Raises:
        EngineError: it cannot be loaded.
    """

    def __init__(self, path: Path, device: torch.device, workers: int) -> None:
        self._device = device
        self._handle = ctypes.c_void_p()
        try:
            self._library = ctypes.CDLL(str(path))
            self._tensors = torch._C._aoti
            create = self._library.AOTInductorModelContainerCreateWithDevice
            self._run = self._library.AOTInductorModelContainerRun
        except (OSError, AttributeError) as error:
            raise EngineError(f"{path}: cannot be loaded ({error})") from error
        where = str(device).encode()
        # Without a folder, kernels would be looked for where they were compiled.
        kernels = os.fsencode(path.parent)
        # On a GPU it would leave this thread with that one as its own.
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            failed = create(ctypes.byref(self._handle), ctypes.c_size_t(workers), where, kernels)
        if failed:
            raise EngineError(f"{path}: cannot be loaded")
        page_out_file(path)  # it has copied the weights
        # With the process everything goes, and threads may still be in it.
        delete = self._library.AOTInductorModelContainerDelete
        weakref.finalize(self, delete, self._handle).atexit = False

    def __call__(self, example: Tensor) -> Tensor:
        """Raises:
        EngineError: the library reports an error.
        """
        # The library takes the input's handle over, and hands the output's to us.
        capsule = self._tensors.unsafe_alloc_void_ptr_from_tensor(example)
        inputs = (ctypes.c_void_p * 1)(_capsule_pointer(capsule, None))
        outputs = (ctypes.c_void_p * 1)()
        stream = None
        if self._device.type == "cuda":
            stream = ctypes.c_void_p(torch.cuda.current_stream(self._device).cuda_stream)
        one = ctypes.c_size_t(1)
        if self._run(self._handle, inputs, one, outputs, one, stream, None):
            raise EngineError("the compiled backbone failed: use --backend eager")
        # Its sister for a single tensor does not free the handle, and with it the tensor.
        results: list[Tensor] = self._tensors.alloc_tensors_by_stealing_from_void_ptrs(
            [_new_capsule(outputs[0], None, None)]
        )
        return results[0]
