"""Features do not depend on how many decoders read the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vtnstream.config import RuntimeConfig
from vtnstream.inference.encoder import FrameEncoder
from vtnstream.inference.extract import extract_features
from vtnstream.models.vtn import VTN
from vtnstream.video import parallel
from vtnstream.video.passes import Pass


def test_features_are_those_of_one_decoder(
    film: Path, model: VTN, runtime: RuntimeConfig, monkeypatch: pytest.MonkeyPatch
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
        with extract_features(film, encoder, sampling, runtime=settings) as found:
            return np.concatenate(list(found.features.blocks(100)))

    monkeypatch.setattr(Pass, "piece", begin)
    monkeypatch.setattr(parallel, "_MAX_FRAMES", 32)
    monkeypatch.setattr(parallel, "_MIN_SECONDS", 1)
    monkeypatch.setattr(parallel._Meter, "idle", lambda self, cores: float(cores))
    alone = features(1)
    assert not pieces
    together = features(3)
    assert len(pieces) > 4
    np.testing.assert_array_equal(together, alone)
