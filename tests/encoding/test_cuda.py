"""Engines on a CUDA device; run with ``-m gpu``."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.synth import SyntheticVideo
from tests.video.reading import read, sampling
from vtnstream.config import RuntimeConfig
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.encoding.engines.build import TOLERANCE
from vtnstream.encoding.extract import extract_features
from vtnstream.models.compile.backend import get_backend
from vtnstream.models.vtn.model import VTN
from vtnstream.preprocess.surfaces import SurfaceConverter
from vtnstream.video.decoding.hardware import DECODERS, Hardware
from vtnstream.video.sampling import pieces

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore::UserWarning")]


def features(video: Path, model: VTN, runtime: RuntimeConfig) -> tuple[np.ndarray, str]:
    encoder = FrameEncoder.from_model(model, runtime)
    with extract_features(video, encoder, model.config.sampling, runtime=runtime) as found:
        return np.concatenate(list(found.features.blocks(100))), found.facts.as_dict()["runtime"][
            "backend"
        ]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("backend", ["eager", "inductor", "tensorrt"])
def test_every_backend_equals_eager(
    video: Path, model: VTN, runtime: RuntimeConfig, backend: str, dtype: str
) -> None:
    cuda = replace(runtime, device="cuda", dtype=dtype)
    if backend != "eager" and get_backend(backend).missing(torch.device("cuda")):
        pytest.skip(f"{backend} is not installed")
    expected, _ = features(video, model, replace(cuda, backend="eager"))
    values, used = features(video, model, replace(cuda, backend=backend, use_cache=False))
    assert used == backend
    distance = np.linalg.norm(values - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert distance.max() <= TOLERANCE[dtype]


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p10le"])
def test_nvdec_gives_the_features_of_software(
    tmp_path: Path, model: VTN, runtime: RuntimeConfig, pixels: str
) -> None:
    codec = "libx264" if pixels == "yuv420p" else "libx265"  # H.264 of 10 bits is not decoded there
    options = {"preset": "ultrafast"}
    path = SyntheticVideo(
        count=200, size=(320, 240), codec=codec, options=options, pix_fmt=pixels
    ).write(tmp_path / "film.mp4")
    there, here = (
        facts_of(path, model, replace(runtime, device="cuda", dtype="float32", decoder=decoder))
        for decoder in ("nvdec", "software")
    )
    assert (there[1], here[1]) == ("nvdec", "software")
    distance = np.linalg.norm(there[0] - here[0], axis=1) / np.linalg.norm(here[0], axis=1)
    assert distance.max() < 0.05


def test_parallel_decoders_give_the_frames_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "_USUAL_SECONDS", Fraction(2))
    monkeypatch.setattr(pieces, "SHORTEST_PIECE", Fraction(0))
    path = SyntheticVideo(count=750, size=(320, 240), gop=25, b_frames=2).write(
        tmp_path / "film.mp4"
    )
    hardware = Hardware(0, SurfaceConverter("bicubic"))
    alone, together = (
        read(path, sampling(fps=5), chunk_size=4, decoders=decoders, hardware=hardware)
        for decoders in (1, DECODERS)
    )
    for some, other in zip(alone.chunks, together.chunks, strict=True):
        assert some.frames.is_cuda and torch.equal(some.frames, other.frames)
    assert alone.indices == together.indices and len(alone.indices) == 150


def test_a_partial_last_batch_of_gpu_frames_is_encoded(model: VTN, runtime: RuntimeConfig) -> None:
    """It is padded in the stream of the engine."""
    encoder = FrameEncoder.from_model(model, replace(runtime, device="cuda", dtype="float32"))
    side = encoder.preprocess.size
    frames = torch.randint(0, 256, (8, side, side, 3), dtype=torch.uint8, device="cuda")
    torch.cuda.synchronize()
    run = encoder.runner(8, encoder.network)
    whole = run(frames)
    for count in range(1, 8):
        np.testing.assert_allclose(run(frames[:count]), whole[:count], atol=1e-5)


def facts_of(path: Path, model: VTN, runtime: RuntimeConfig) -> tuple[np.ndarray, str]:
    encoder = FrameEncoder.from_model(model, runtime)
    with extract_features(path, encoder, model.config.sampling, runtime=runtime) as found:
        return np.concatenate(list(found.features.blocks(100))), found.facts.as_dict()["runtime"][
            "decoder"
        ]
