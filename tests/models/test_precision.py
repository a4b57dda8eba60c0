"""The dtype that ``--dtype auto`` chooses on different hardware."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.models.small import sequence, small_vtn
from vtnstream.errors import UsageError
from vtnstream.models import precision
from vtnstream.models.io.weights import weights_sha256
from vtnstream.models.long_sequence.streaming import encode_sequence
from vtnstream.models.long_sequence.windows import encode_windows

CPU = torch.device("cpu")


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch):
    """Let torch report these features of the processor and no others."""

    def make(*features: str) -> None:
        for name in ("amx_tile", "amx_fp16", "avx512_bf16"):
            monkeypatch.setattr(
                torch.cpu, f"_is_{name}_supported", lambda has=name in features: has, raising=False
            )

    return make


@pytest.mark.parametrize(
    ("features", "dtype"),
    [((), "float32"), (("amx_tile",), "bfloat16"), (("avx512_bf16",), "bfloat16")],
)
def test_auto_is_bfloat16_where_the_cpu_is_fast_at_it(processor, features, dtype) -> None:
    processor(*features)
    assert precision.resolve_dtype("auto", CPU) == dtype


@pytest.mark.parametrize(("major", "dtype"), [(7, "float32"), (8, "bfloat16"), (9, "bfloat16")])
def test_auto_on_cuda(monkeypatch: pytest.MonkeyPatch, major: int, dtype: str) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (major, 0))
    assert precision.resolve_dtype("auto", "cuda:0") == dtype


def test_a_requested_dtype_is_kept(processor) -> None:
    processor("amx_tile")
    assert [precision.resolve_dtype(d, CPU) for d in precision.TORCH_DTYPES] == [
        "float32",
        "bfloat16",
        "float16",
    ]
    with pytest.raises(UsageError, match="did you mean 'bfloat16'"):
        precision.resolve_dtype("bfloat", CPU)


def test_unknown_cpu_features_mean_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("amx_tile", "amx_fp16", "avx512_bf16"):
        monkeypatch.delattr(torch.cpu, f"_is_{name}_supported", raising=False)
    assert precision.resolve_dtype("auto", CPU) == "float32"
    assert precision.is_slow("bfloat16", CPU) and precision.is_slow("float16", CPU)
    assert not precision.is_slow("float32", CPU)


def test_float16_is_slow_without_its_instructions(processor) -> None:
    processor("amx_tile")
    assert precision.is_slow("float16", CPU) and not precision.is_slow("bfloat16", CPU)
    processor("amx_tile", "amx_fp16")
    assert not precision.is_slow("float16", CPU)


def test_the_temporal_encoder_in_bfloat16() -> None:
    """Bfloat16 changes logits by under 1.5 % of their spread on average, and at most by a tenth
    of it.

    The original model does not change.
    """
    model = small_vtn(num_layers=3, hidden_size=128, intermediate_size=512, attention_window=(32,))
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and name.startswith("temporal_encoder"):
            torch.nn.init.normal_(parameter, std=0.02)
        elif "LayerNorm.weight" in name:
            torch.nn.init.ones_(parameter)
    features = sequence(600)
    before = weights_sha256(model)
    rounded = model.in_precision(torch.bfloat16)
    assert rounded.temporal_encoder.layers[0].output.dense.weight.dtype == torch.bfloat16
    assert rounded.temporal_encoder.cls_encoder is model.temporal_encoder
    assert rounded.mlp_head is model.mlp_head and rounded.backbone is model.backbone
    assert weights_sha256(model) == before and model.temporal_encoder.cls_encoder is None
    assert model.in_precision(torch.float32) is model
    exact, close = encode_sequence(model, features), encode_sequence(rounded, features)
    assert exact.dense_logits is not None and close.dense_logits is not None
    assert exact.logits is not None and close.logits is not None
    spread = exact.dense_logits.std()
    apart = np.abs(close.dense_logits - exact.dense_logits)
    assert 0 < apart.mean() < 0.015 * spread and apart.max() < 0.1 * spread
    # [CLS] is worked in float32
    assert np.abs(close.logits - exact.logits).max() < 0.01 * exact.logits.std()
    windows = [
        dict(encode_windows(each, features, starts=[0, 300], window=64))
        for each in (model, rounded)
    ]
    for start, logits in windows[0].items():
        assert np.abs(logits - windows[1][start]).max() < 0.1 * logits.std()
