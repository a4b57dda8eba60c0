"""Code paths of CUDA with fake tensors: devices and types fit, and nothing on the GPU is passed to
numpy. No numbers are computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention.flex_attention import flex_attention

from tests.models.small import sequence, small_vtn
from vtnstream.config import BackboneConfig, PreprocessConfig
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.models.backbone import create_backbone
from vtnstream.models.layers import banded_flex
from vtnstream.models.long_sequence.streaming import encode_sequence
from vtnstream.models.long_sequence.windows import encode_windows
from vtnstream.preprocess import surfaces
from vtnstream.types import Colour, Fit

CUDA = torch.device("cuda:0")


@contextmanager
def imagined() -> Iterator[None]:
    """Use fake tensors; conversions to numpy return zeros."""

    def numpy(tensor: torch.Tensor) -> np.ndarray:
        assert tensor.device.type == "cpu", f"numpy cannot read {tensor.device}"
        return np.zeros(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))

    with pytest.MonkeyPatch.context() as patch, FakeTensorMode(allow_non_fake_inputs=True):
        patch.setattr(torch.Tensor, "numpy", numpy)
        yield


def moved(module: nn.Module) -> nn.Module:
    """Like ``module.to("cuda")``, which would need a driver."""
    for part in module.modules():
        for own in (part._parameters, part._buffers):
            for name, old in own.items():
                if old is not None:
                    new = torch.empty(old.shape, dtype=old.dtype, device=CUDA)
                    own[name] = (
                        nn.Parameter(new, old.requires_grad) if own is part._parameters else new
                    )
    return module


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize(
    ("way", "dtype", "positions"),
    [
        ("blocks", torch.bfloat16, "rotary"),
        ("flex", torch.float32, "learned"),
        pytest.param("blocks", torch.float32, "learned", marks=pytest.mark.slow),
        pytest.param("flex", torch.bfloat16, "rotary", marks=pytest.mark.slow),
    ],
)
def test_a_sequence_and_its_windows(
    way: str, dtype: torch.dtype, positions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(banded_flex.SWITCH, "1" if way == "flex" else "0")
    calls: list[Any] = []

    def flex(*operands: Any, **options: Any) -> Any:
        calls.append(options)
        return flex_attention(*operands, **options)

    monkeypatch.setattr(banded_flex, "_compiled", lambda: flex)
    small = small_vtn(positions=positions, feature_norm="video_mean").in_precision(dtype)
    features = sequence(300)
    with imagined():
        model: Any = moved(small)
        assert model.temporal_encoder.attention_way == way
        output = encode_sequence(model, features, attention=(0, -1), block_size=100)
        windows = dict(encode_windows(model, features, window=32, starts=[0, 20, 40]))
    assert output.logits is not None and output.logits.shape == (3,)
    assert output.dense_logits is not None and output.dense_logits.shape == (300, 2)
    assert output.attention is not None and output.attention.shape == (2, 4, 300)
    assert [logits.shape for logits in windows.values()] == [(3,)] * 3
    assert bool(calls) == (way == "flex")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("backbone", ["test_vit", "test_resnet"])
def test_frames(backbone: str, dtype: str) -> None:
    config = BackboneConfig(backbone)
    preprocess = PreprocessConfig(size=160, resize=160)
    encoder = FrameEncoder(create_backbone(config), config, preprocess, dtype=dtype)
    with imagined(), torch.inference_mode():
        pixels = torch.zeros(5, 160, 160, 3, dtype=torch.uint8, device=CUDA)
        features = moved(encoder.network)(pixels)
    assert features.device == CUDA and features.dtype == torch.float32
    assert features.shape == (5, encoder.num_features)


@pytest.mark.parametrize(("dtype", "levels"), [(torch.uint8, 1), (torch.uint16, 256)])
def test_surfaces(dtype: torch.dtype, levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def weights(_: str, samples: int, size: int, device: torch.device) -> torch.Tensor:
        return torch.empty(size, samples, device=device)

    monkeypatch.setattr(surfaces, "_weights", weights)
    with imagined():
        luma = torch.zeros(48, 64, dtype=dtype, device=CUDA)
        chroma = torch.zeros(24, 32, 2, dtype=dtype, device=CUDA)
        picture = surfaces.to_rgb(luma, chroma, Colour(1, 1, levels), (32, 24))
        cut = surfaces.cropped(torch.rot90(picture, -1), Fit(24, 32, -2, 2, 28, 28))
    assert cut.device == CUDA and cut.shape == (28, 28, 3) and cut.dtype == torch.uint8
