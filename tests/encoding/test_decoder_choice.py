"""Features do not depend on the number of decoders, and a GPU decodes only if its frames equal
those of software."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.synth import SyntheticVideo, quadrants
from tests.video.decoding.test_hardware import HOST, beside_torch, needs_compiler, no_gpu
from vtnstream.config import RuntimeConfig, SamplingConfig
from vtnstream.encoding import store_session
from vtnstream.encoding.decoder_choice import Decoding, choose_decoding, refusal
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.encoding.extract import extract_features
from vtnstream.errors import UsageError, VideoDecodeError
from vtnstream.models.vtn.model import VTN
from vtnstream.preprocess.surfaces import SurfaceConverter
from vtnstream.progress import NullProgress
from vtnstream.types import Fit
from vtnstream.video.decoding.hardware import Hardware
from vtnstream.video.sampling import parallel
from vtnstream.video.sampling.passes import Pass
from vtnstream.video.source import open_video


def test_features_do_not_depend_on_the_number_of_decoders(
    video: Path, model: VTN, runtime: RuntimeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces: list[Pass] = []
    piece = Pass.piece

    def begin(self: Pass) -> object:
        pieces.append(self)
        return piece(self)

    def features(threads: int) -> np.ndarray:
        settings = replace(runtime, threads=threads, use_cache=False, batch_size=16)
        encoder = FrameEncoder.from_model(model, settings)
        sampling = model.config.sampling
        with extract_features(video, encoder, sampling, runtime=settings) as found:
            return np.concatenate(list(found.features.blocks(100)))

    monkeypatch.setattr(Pass, "piece", begin)
    monkeypatch.setattr("vtnstream.video.sampling.pieces._MAX_FRAMES", 32)
    monkeypatch.setattr("vtnstream.video.sampling.pieces.SHORTEST_PIECE", 1)
    monkeypatch.setattr(parallel._LoadMeter, "idle", lambda self, cores: float(cores))
    alone = features(1)
    assert not pieces
    together = features(3)
    assert len(pieces) > 4
    np.testing.assert_array_equal(together, alone)


# ------------------------------------------------------------------------------- on a GPU


class Warnings(NullProgress):
    def __init__(self) -> None:
        self.told: list[str] = []

    def warn(self, message: str) -> None:
        self.told.append(message)


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Extract as on a GPU, with frames decoded in software."""
    monkeypatch.setattr(store_session, "choose_decoding", lambda *_: Decoding("a stand-in", HOST))


def extract(
    path: Path, model: VTN, runtime: RuntimeConfig
) -> tuple[np.ndarray, dict[str, Any], list[str]]:
    told, encoder = Warnings(), FrameEncoder.from_model(model, runtime)
    sampling = model.config.sampling
    with extract_features(path, encoder, sampling, runtime=runtime, progress=told) as found:
        values = np.concatenate(list(found.features.blocks(100)))
        return values, found.facts.as_dict()["runtime"] | found.provenance, told.told


@pytest.mark.usefixtures("on_a_gpu")
def test_frames_on_the_gpu_are_encoded_there(
    video: Path, model: VTN, runtime: RuntimeConfig
) -> None:
    values, facts, told = extract(video, model, runtime)
    assert (facts["decoder"], facts["decoder_reason"]) == ("nvdec", "a stand-in") and not told
    again, _, _ = extract(video, model, runtime)  # from the store
    np.testing.assert_array_equal(again, values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_session, "choose_decoding", choose_decoding)
        software, facts, told = extract(video, model, runtime)
    assert facts["decoder"] == "software" and not told
    assert not np.array_equal(software, values)  # another store, pixels off by one
    assert np.abs(software - values).max() < 0.05 * np.abs(software).max()


@pytest.mark.usefixtures("on_a_gpu")
def test_software_decodes_the_whole_video_if_the_gpu_fails_midway(
    tmp_path: Path, model: VTN, runtime: RuntimeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = SyntheticVideo(count=400, broken=range(300, 310)).write(tmp_path / "film.mkv")
    values, facts, told = extract(path, model, runtime)
    assert facts["decoder"] == "software" and "failed" in facts["decoder_reason"]
    (warning,) = (line for line in told if "software" in line)
    assert str(path) in warning and "nvdec failed" in warning
    monkeypatch.setattr(store_session, "choose_decoding", choose_decoding)
    expected, _, _ = extract(path, model, replace(runtime, use_cache=False))
    np.testing.assert_array_equal(values, expected)


def frames_of(path: Path) -> Callable[[Hardware | None], Any]:
    def decoded(hardware: Hardware | None) -> Any:
        fit = Fit(64, 48, 0, 0, 64, 48)
        with open_video(path, SamplingConfig(), fit=lambda w, h: fit, hardware=hardware) as source:
            return next(chunk.frames for chunk in source.chunks())

    return decoded


@no_gpu
def test_without_a_gpu_the_reason_is_reported(tmp_path: Path) -> None:
    path = SyntheticVideo(count=20).write(tmp_path / "film.mp4")
    reason = refusal(Hardware(0, SurfaceConverter("bicubic")), frames_of(path))
    assert reason is not None and reason.startswith("nvdec does not read this video: ")


_REFUSES = """
import sys
from pathlib import Path
from tests.encoding.test_decoder_choice import frames_of
from tests.video.decoding.test_hardware import Ready
from vtnstream.encoding.decoder_choice import refusal
from vtnstream.video.decoding.hardware import Hardware
print(refusal(Hardware(0, Ready("bicubic")), frames_of(Path(sys.argv[1]))))
"""


@needs_compiler
def test_a_video_that_nvdec_accepts_and_cannot_decode_is_reported(tmp_path: Path) -> None:
    """For an unsupported profile or a missing library, libav reports an error for each packet."""
    path = SyntheticVideo(count=40, options={"preset": "ultrafast"}).write(tmp_path / "film.mp4")
    reason = beside_torch(_REFUSES, path, tmp_path)
    assert reason.startswith(
        "nvdec does not read this video: it does not support this profile, or "
    )

    def broken(_: Hardware | None) -> Any:
        raise VideoDecodeError("film.mp4: no frame could be decoded")

    with pytest.raises(VideoDecodeError):  # by software neither
        refusal(HOST, broken)
    decoded = frames_of(path)
    reason = refusal(HOST, lambda there: broken(there) if there else decoded(None)) or ""
    assert reason == "nvdec decodes no frame of this video"


def test_nvdec_is_refused_if_its_frames_differ(tmp_path: Path) -> None:
    video = SyntheticVideo(count=20, draw=lambda _n, w, h: quadrants(w, h))
    decoded = frames_of(video.write(tmp_path / "film.mp4"))
    assert refusal(HOST, decoded) is None

    def changed(by: Callable[[Any], Any]) -> str:
        def frames(hardware: Hardware | None) -> Any:
            return decoded(None) if hardware is None else by(decoded(hardware))

        return refusal(HOST, frames) or "none"

    assert "(off by" in changed(lambda frames: frames.flip(-1))  # red for blue
    assert "(off by" in changed(lambda frames: frames + 16)
    assert "for (2, 48, 64, 3)" in changed(lambda frames: frames[:, :8])


def test_nvdec_is_tried_only_if_the_backbone_is_on_a_gpu(
    model: VTN, runtime: RuntimeConfig
) -> None:
    encoder = FrameEncoder.from_model(model, runtime)

    def choose(decoder: str) -> Decoding:
        settings = replace(runtime, decoder=decoder)
        return choose_decoding(settings, encoder, model.config.sampling, pytest.fail)

    assert choose("auto").hardware is None and choose("software").reason == "requested"
    with pytest.raises(UsageError, match="--device cuda"):
        choose("nvdec")
