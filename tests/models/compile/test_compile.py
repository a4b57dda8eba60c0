"""Compilers of the frame network: the real AOTInductor, and a stand-in for torch-tensorrt with the
same functions."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from vtnstream.config import BackboneConfig, PreprocessConfig
from vtnstream.config.runtime import BACKENDS as NAMES
from vtnstream.errors import MissingExtraError, UsageError
from vtnstream.models.backbone import create_backbone
from vtnstream.models.compile import child
from vtnstream.models.compile.backend import BACKENDS, EngineError, get_backend
from vtnstream.models.compile.inductor import Inductor
from vtnstream.models.compile.tensorrt import TensorRT
from vtnstream.models.frame_network import FrameNetwork
from vtnstream.models.torch_internals import aoti_library
from vtnstream.preprocess.pipeline import Normalize

CPU = torch.device("cpu")


def network(dtype: torch.dtype = torch.float32) -> FrameNetwork:
    torch.manual_seed(0)
    backbone = create_backbone(BackboneConfig("test_vit", {"img_size": 32, "depth": 1})).eval()
    normalize = Normalize(PreprocessConfig(size=32, resize=32))
    made = FrameNetwork(normalize, backbone.to(dtype), dtype).eval()
    return made.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def pixels(count: int = 2) -> torch.Tensor:
    random = np.random.default_rng(0)
    return torch.from_numpy(random.integers(0, 256, (count, 32, 32, 3), np.uint8))


def built(name: str, folder: Path, net: FrameNetwork) -> Path:
    folder.mkdir(mode=0o700)
    waits: list[float] = []
    seconds = child.compile_in_child(name, net, pixels(), folder, threads=1, on_wait=waits.append)
    assert waits == sorted(waits) and waits[-1] <= seconds
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "nothing else is left"
    return folder


def test_the_table_has_every_backend_of_the_option() -> None:
    assert {*BACKENDS, "auto", "eager", "numpy"} == set(NAMES)  # these compile nothing
    for name in BACKENDS:
        assert get_backend(name).missing(CPU) is None or name != "inductor"
    with pytest.raises(UsageError, match="did you mean 'inductor'"):
        get_backend("indcutor")


# --------------------------------------------------------------------------- inductor


@pytest.fixture(scope="module", params=["assumed", pytest.param("tried", marks=pytest.mark.slow)])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled engine of the small network, in a relative folder, since ``--cache-dir`` may
    be relative.

    By default torch tries the vector instructions of the processor with ten programs, which take
    longer than the engine. Here it assumes that the C++ compiler knows them, except with -m slow.
    """
    if shutil.which("g++") is None and not os.environ.get("CI"):
        pytest.skip("no C++ compiler")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("inductor"))
        if request.param == "assumed":
            patch.setenv("TORCHINDUCTOR_VEC_ISA_OK", "1")
        return built("inductor", Path("engine"), network()).absolute()


def test_inductor_equals_the_network(library: Path) -> None:
    net = network()
    engine = Inductor().load(library, net, CPU, 2)
    with torch.inference_mode():
        expected = net(pixels())
    found = engine(pixels())
    assert found.dtype == torch.float32 and found.shape == expected.shape
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-5)
    assert not torch.equal(engine(255 - pixels()), found)


def test_a_result_is_freed_with_its_last_use(library: Path) -> None:
    """Otherwise every batch of a long video would stay in memory."""
    engine = Inductor().load(library, network(), CPU, 1)
    found, other = engine(pixels()), torch.ones(2, 3)
    storages = [tensor.untyped_storage()._cdata for tensor in (found, other)]
    uses = [torch._C._storage_Use_Count(storage) for storage in storages]
    assert uses[0] == uses[1]


def test_inductor_releases_the_interpreter_lock(library: Path) -> None:
    """Several threads may call it, and the interpreter lock is free while it computes."""
    engine = Inductor().load(library, network(), CPU, 3)
    expected = engine(pixels())
    calls, wrong, stop = [0] * 3, [], threading.Event()

    def call(number: int) -> None:
        while not stop.is_set():
            if not torch.equal(engine(pixels()), expected):
                wrong.append(number)
            calls[number] += 1

    threads = [threading.Thread(target=call, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong and min(calls) > 0


def test_gpu_kernels_are_kept_with_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernel files of CUDA are moved with the library, which gets their folder."""

    def aot_compile(module: Any, examples: Any, *, options: dict[str, Any]) -> str:
        made = Path(options["aot_inductor.output_path"])
        made.parent.mkdir()
        for name in (made.name, "c1.cubin", "c2.cubin", "code.cpp", "code.o"):
            (made.parent / name).write_bytes(b"")
        return str(made)

    class Library:
        AOTInductorModelContainerRun = None

        @staticmethod
        def AOTInductorModelContainerCreateWithDevice(*arguments: Any) -> int:
            asked.extend(arguments[2:])
            return 0

        @staticmethod
        def AOTInductorModelContainerGetNumInputs(handle: Any, count: Any) -> int:
            count._obj.value = 1
            return 0

        AOTInductorModelContainerGetNumOutputs = AOTInductorModelContainerGetNumInputs

        @staticmethod
        def AOTInductorModelContainerDelete(handle: Any) -> None:
            deleted.append(handle)

    asked: list[bytes] = []
    deleted: list[Any] = []
    monkeypatch.setattr("torch._inductor.aot_compile", aot_compile)
    program: Any = SimpleNamespace(example_inputs=((pixels(),), {}), module=lambda: None)
    Inductor().build(program, tmp_path, 1)
    assert {path.name for path in tmp_path.iterdir()} == {"model.so", "c1.cubin", "c2.cubin"}
    net = network()
    with monkeypatch.context() as patch:
        patch.setattr(aoti_library.ctypes, "CDLL", lambda path: Library)
        patch.setattr(torch.cuda, "device", nullcontext)
        engine = Inductor().load(tmp_path, net, torch.device("cuda:0"), 2)
    assert not deleted
    del engine
    assert len(deleted) == 1, "its weights go with it"
    assert asked == [b"cuda:0", str(tmp_path).encode()]


def test_a_file_that_is_not_a_library(tmp_path: Path) -> None:
    (tmp_path / "model.so").write_bytes(b"not a library")
    with pytest.raises(EngineError, match=r"model\.so: cannot be loaded"):
        Inductor().load(tmp_path, network(), CPU, 1)


def test_a_gpu_needs_the_headers_of_its_toolkit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's packages have only some of them, and the compiler would fail after half a minute."""
    cuda = torch.device("cuda:0")
    importlib.import_module("torch._inductor")  # looks for packages itself
    home = tmp_path / "cuda-13"
    for part in ("bin", "include/crt"):
        (home / part).mkdir(parents=True)
    (home / "bin" / "nvcc").touch()
    (home / "include" / "cuda.h").touch()
    linked = tmp_path / "bin" / "nvcc"
    linked.parent.mkdir()
    linked.symlink_to(home / "bin" / "nvcc")
    monkeypatch.setattr(shutil, "which", lambda name: str(linked))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.setenv(name, "")  # so that it is as before afterwards
        monkeypatch.delenv(name)
    if not Path("/usr/local/cuda/include/crt").exists():
        assert "CUDA toolkit" in (Inductor().missing(cuda) or "")
    (home / "include" / "crt" / "host_config.h").touch()
    assert Inductor().missing(cuda) is None

    def aot_compile(*_: Any, options: dict[str, Any]) -> str:
        assert os.environ["CUDA_HOME"] == str(home)
        raise InterruptedError

    monkeypatch.setattr("torch._inductor.aot_compile", aot_compile)
    example = SimpleNamespace(is_cuda=True)
    program: Any = SimpleNamespace(example_inputs=((example,), {}), module=lambda: None)
    with pytest.raises(InterruptedError):
        Inductor().build(program, tmp_path, 1)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))  # this one, and it has none
    assert "CUDA toolkit" in (Inductor().missing(cuda) or "")


# ----------------------------------------------------------------- tensorrt, stand-in

STAND_IN = '''
"""Has the functions of torch-tensorrt 2.14 that are called, with its signatures."""
import os, pathlib, sys, time, traceback, types
import torch

def compile(exported_program, inputs=None, *, arg_inputs=None, device=None,
            disable_tf32=False, cache_built_engines=False, reuse_cached_engines=False):
    what = os.environ.get("STAND_IN", "")
    if what == "fail":
        raise RuntimeError("no kernel for this GPU")
    if what == "crash":
        os.abort()
    if what == "hang":
        pathlib.Path(os.environ["STAND_IN_FILE"]).write_text(str(os.getpid()))
        time.sleep(600)
    assert len(arg_inputs) == 1 and arg_inputs[0].is_contiguous() and arg_inputs[0].ndim == 4
    assert disable_tf32 and not cache_built_engines and not reuse_cached_engines
    return exported_program.module()

def save(module, file_path="", *, output_format="exported_program", arg_inputs=None,
         pickle_protocol=2):
    assert output_format == "exported_program"
    torch.export.save(torch.export.export(module, tuple(arg_inputs)), file_path)

def load(file_path=""):
    try:
        return torch.export.load(file_path)
    except Exception:
        traceback.print_exc()
        raise

dynamo = types.SimpleNamespace(compile=compile)
'''


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "torch_tensorrt.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(folder)
    yield
    sys.modules.pop("torch_tensorrt", None)


def test_tensorrt_from_export_to_engine(stand_in: None, tmp_path: Path) -> None:
    net = network(torch.bfloat16)
    (tmp_path / "engines").mkdir()
    folder = built("tensorrt", tmp_path / "engines" / "engine", net)
    assert [path.name for path in folder.iterdir()] == ["model.pt2"]
    engine = TensorRT().load(folder, net, CPU, 2)
    with torch.inference_mode():
        expected = net(pixels())
        found = engine(pixels())
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=0.02, atol=0.02)


def test_tensorrt_engine_of_another_version(
    stand_in: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.pt2").write_bytes(b"not a program")
    with pytest.raises(EngineError, match=r"model\.pt2: cannot be loaded"):
        TensorRT().load(tmp_path, network(), CPU, 1)
    assert capfd.readouterr().err == ""


LIKE_WITHOUT_LIBRARIES = """
print("import error when try to import _TensorRTProxyModule")
raise Exception("Could not find libnvinfer.so.11\\n  Search paths: ['/usr/lib']")
"""
"""Behaviour of torch-tensorrt 2.14 without TensorRT's own libraries."""


def test_tensorrt_without_its_libraries_is_one_line(
    stand_in: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "site" / "torch_tensorrt.py").write_text(LIKE_WITHOUT_LIBRARIES)
    message = r"^TensorRT's libraries cannot be loaded \(Could not find libnvinfer.so.11\): install"
    with pytest.raises(EngineError, match=message):
        TensorRT().load(tmp_path, network(), CPU, 1)
    last = f"{EngineError.__module__}.EngineError: TensorRT's libraries cannot be loaded"
    told = child._reason(f"Traceback ...\n{last}\n".encode(), 1)
    assert told == "the compiler failed (TensorRT's libraries cannot be loaded)"
    assert capfd.readouterr().out == "", "standard output is for results"


def test_tensorrt_names_missing_libraries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cuda = torch.device("cuda")
    assert "NVIDIA GPU" in (TensorRT().missing(CPU) or "")
    if TensorRT().missing(cuda) is None:
        pytest.skip("torch-tensorrt is installed")
    assert '[tensorrt]"' in (TensorRT().missing(cuda) or "")
    with pytest.raises(MissingExtraError, match="the extra 'tensorrt'"):
        TensorRT().load(tmp_path, network(), cuda, 1)


@pytest.mark.parametrize(
    ("how", "message"),
    [("fail", "no kernel for this GPU"), ("crash", "ended by signal 6")],
)
def test_a_failing_compiler_is_one_line(
    stand_in: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, message: str
) -> None:
    monkeypatch.setenv("STAND_IN", how)
    (tmp_path / "engines").mkdir()
    with pytest.raises(EngineError, match=message) as caught:
        built("tensorrt", tmp_path / "engines" / "engine", network())
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "engines").iterdir()] == ["engine"]


def test_an_interrupt_ends_the_compiler(
    stand_in: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "hang")
    monkeypatch.setenv("STAND_IN_FILE", str(tmp_path / "pid"))
    folder = tmp_path / "engine"
    folder.mkdir()

    def interrupted(seconds: float) -> None:
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        child.compile_in_child(
            "tensorrt", network(), pixels(), folder, threads=1, on_wait=interrupted
        )
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not (tmp_path / "engine.work").exists()


@pytest.mark.parametrize(
    ("module", "message"),
    [
        pytest.param(
            "class It(torch.nn.Module):\n    def forward(self, x):\n"
            "        return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))",
            "cannot be exported", marks=pytest.mark.slow),
        ("class It(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
         "        self.rest = lambda x: x", "cannot be handed to the compiler"),
    ],
)  # fmt: skip
def test_a_network_that_cannot_be_compiled_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, message: str
) -> None:
    (tmp_path / "odd_backbone.py").write_text(f"import torch\n{module}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "odd_backbone", raising=False)
    odd = importlib.import_module("odd_backbone")
    net = FrameNetwork(network().normalize, odd.It(), torch.float32)
    folder = tmp_path / "engines" / "engine"
    folder.parent.mkdir()
    folder.mkdir()
    with pytest.raises(EngineError, match=message) as caught:
        child.compile_in_child(
            "inductor", net, pixels(), folder, threads=1, on_wait=lambda seconds: None
        )
    assert "\n" not in str(caught.value) and list(folder.parent.iterdir()) == [folder]


def test_the_error_line_of_a_compiler_is_found() -> None:
    log = b"g++ a.cpp\ncc1plus: fatal error: no a.cpp\ncompilation terminated.\n\n"
    assert child._reason(log, 1) == "the compiler failed (cc1plus: fatal error: no a.cpp)"
    assert child._reason(b"compilation terminated.\n", 1) == "the compiler failed (code 1)"


def test_compilers_do_not_use_the_shared_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/tmp/torchinductor_somebody")
    environment: dict[str, Any] = child._environment(tmp_path)
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "TMPDIR"):
        assert Path(environment[name]).is_relative_to(tmp_path)
