"""Decoding on a GPU, tested without one: errors on opening, and the conversion of surfaces that
are replaced by frames decoded on the host."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from tests.patience import HANG
from tests.synth import SyntheticVideo, whole
from tests.video.decoding.test_frames import MATRICES, full
from tests.video.reading import Reading, read, sampling
from vtnstream.config import SamplingConfig
from vtnstream.preprocess.surfaces import SurfaceConverter
from vtnstream.video.container import opened
from vtnstream.video.decoding.hardware import Hardware, HardwareRefusedError, refusing
from vtnstream.video.sampling import passes

no_gpu = pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a GPU here")
LAYOUTS = {"yuv420p": "nv12", "yuvj420p": "nv12", "yuv420p10le": "p010le"}


class Ready(SurfaceConverter):
    """Converter for a GPU that claims to exist."""

    @contextmanager
    def at(self, device: int) -> Iterator[None]:
        yield


class OnTheHost(Hardware):
    """Frames decoded in software have the layout of a GPU's surfaces."""

    def accelerator(self) -> None:
        return None

    def surface(self, frame: Any) -> tuple[Any, str]:
        layout = LAYOUTS.get(frame.format.name)
        if layout is None:
            return (), frame.format.name
        return frame.reformat(format=layout).planes, layout


HOST = OnTheHost(0, Ready("bicubic"))


def assert_alike(path: Path, config: SamplingConfig, **options: Any) -> Reading:
    there, here = (read(path, config, hardware=hardware, **options) for hardware in (HOST, None))
    assert there.summary == here.summary
    for ours, theirs in zip(there.chunks, here.chunks, strict=True):
        assert isinstance(ours.frames, torch.Tensor) and ours.frames.dtype == torch.uint8
        assert ours.first_index == theirs.first_index and ours.stats == theirs.stats
        for name in ("indices", "pts", "start_seconds", "end_seconds"):
            assert np.array_equal(getattr(ours.times, name), getattr(theirs.times, name))
        difference = np.abs(ours.frames.numpy().astype(int) - theirs.frames)
        assert difference.max() <= 1
    return here


@pytest.mark.parametrize("kind", ["rate", "uniform", "stride", "all"])
def test_frames_and_times_equal_software(tmp_path: Path, kind: str) -> None:
    options = {
        "rate": {"fps": 5},
        "uniform": {"num_frames": 10},
        "stride": {"stride": 7},
        "all": {},
    }
    path = SyntheticVideo(count=75, b_frames=2).write(tmp_path / "film.mp4")
    here = assert_alike(path, sampling(kind, **options[kind]), chunk_size=4)
    assert len(here.indices) >= 10


def test_ten_bit_and_rotated_frames_and_crops_equal_software(tmp_path: Path) -> None:
    video = SyntheticVideo(
        count=20, size=(96, 64), pix_fmt="yuv420p10le", matrix=full(MATRICES["transposed"])
    )
    assert_alike(video.write(tmp_path / "film.mp4"), sampling("all"), fit=whole(48))


@no_gpu
@pytest.mark.parametrize(
    ("codec", "reason"),
    # No GPU decodes ffv1; a GPU would decode H.264.
    [("libx264", "cannot be opened there"), ("ffv1", "no stream is compatible")],
)
def test_opening_without_a_gpu_is_refused(tmp_path: Path, codec: str, reason: str) -> None:
    options = {"preset": "ultrafast"} if codec == "libx264" else {}
    path = SyntheticVideo(count=5, codec=codec, options=options).write(tmp_path / "film.mkv")
    with pytest.raises(HardwareRefusedError, match=reason):
        read(path, hardware=Hardware(0, Ready("bicubic")))
    with pytest.raises(HardwareRefusedError, match=r"the GPU cannot be used \(\w+"):
        read(path, hardware=Hardware(0, SurfaceConverter("bicubic")))
    with opened(path) as video:  # nothing is left behind
        assert not video.stream.codec_context.is_hwaccel


def test_frames_decoded_in_software_are_refused(tmp_path: Path) -> None:
    """libav might fall back to software silently."""

    class Silent(Hardware):
        def accelerator(self) -> None:
            return None

    path = SyntheticVideo(count=5).write(tmp_path / "film.mp4")
    with pytest.raises(HardwareRefusedError, match="in software"):
        read(path, hardware=Silent(0, HOST.converter))


def test_unsupported_surfaces_are_rejected(tmp_path: Path) -> None:
    path = SyntheticVideo(count=5, pix_fmt="yuv444p").write(tmp_path / "film.mp4")
    with pytest.raises(HardwareRefusedError, match="yuv444p"):
        read(path, hardware=HOST)
    odd = SyntheticVideo(count=5, codec="ffv1", options={}, ticks=25, size=(67, 51))
    with pytest.raises(HardwareRefusedError, match="67 x 51"):
        read(odd.write(tmp_path / "film.mkv"), hardware=HOST)


@pytest.mark.parametrize("error", [NotImplementedError, torch.OutOfMemoryError, TypeError])
def test_a_failing_gpu_is_refused(tmp_path: Path, error: type[Exception]) -> None:
    class Failing(Ready):
        def frame(self, *arguments: Any) -> torch.Tensor:
            raise error("not today\nand a trace")

    path = SyntheticVideo(count=5).write(tmp_path / "film.mp4")
    with pytest.raises(HardwareRefusedError, match=r"cannot be read \(not today\)$"):
        read(path, hardware=OnTheHost(0, Failing("bicubic")))


def test_damage_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding stops at the damage, without reading the rest of a long video."""
    asked = []
    monkeypatch.setattr(
        passes, "refusing", lambda *told: lambda: asked.append(1) or refusing(*told)()
    )
    path = SyntheticVideo(count=400, broken=range(40, 50)).write(tmp_path / "film.mkv")
    with pytest.raises(HardwareRefusedError, match="cannot be decoded there"):
        read(path, sampling("all"), hardware=HOST)
    assert 40 < len(asked) < 60


# ------------------------------------------------------------------- beside torch on the GPU

_DRIVER = """
#include <stdlib.h>
%s
int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) {
    *flags = 0; *active = 1; return 0;  /* as torch leaves it */
}
int cuCtxGetCurrent(void **context) { *context = (void *)1; return 0; }
int cuCtxDestroy_v2(void *context) { abort(); }
int cuDevicePrimaryCtxRelease(int device) { abort(); }
"""
_OPENS = """
import sys
import av
from vtnstream.video.decoding.hardware import Hardware
accelerator = Hardware(0, converter=None).accelerator()
with av.open(sys.argv[1], hwaccel=accelerator) as container:
    print(container.streams.video[0].codec_context.is_hwaccel)
"""


needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("g++") is None, reason="needs g++"
)


def beside_torch(code: str, path: Path, folder: Path) -> str:
    """Return the output of Python code for a video, with a stand-in for NVIDIA's driver that only
    reports torch's context. The real libav runs; it finds no NVDEC."""
    (library,) = Path(av.__file__).parent.with_name("av.libs").glob("libavutil*")
    found = re.findall(rb"\0(cu(?:[A-Z][A-Za-z0-9]+)(?:_v2)?)(?=\0)", library.read_bytes())
    names = sorted(name for name in {name.decode() for name in found} if name not in _DRIVER)
    source = folder / "driver.c"
    source.write_text(_DRIVER % "\n".join(f"int {name}(void) {{ return 0; }}" for name in names))
    subprocess.run(
        ["g++", "-x", "c", "-shared", "-fPIC", source, "-o", folder / "libcuda.so.1"], check=True
    )
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    command = [sys.executable, "-c", code, str(path)]
    said = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=HANG, check=False
    )
    assert said.returncode == 0, said.stderr
    return said.stdout.strip()


@needs_compiler
def test_libav_shares_the_context_of_torch(tmp_path: Path) -> None:
    """libav rejects the primary context, PyAV's default, once torch has created it."""
    path = SyntheticVideo(count=5, options={"preset": "ultrafast"}).write(tmp_path / "film.mp4")
    assert beside_torch(_OPENS, path, tmp_path) == "True"
