"""What ``--dtype auto`` comes to on hardware of all kinds."""

from __future__ import annotations

import pytest
import torch

from vtnstream.errors import UsageError
from vtnstream.models import precision

CPU = torch.device("cpu")


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch):
    """Makes torch say that the processor has these features and no others."""

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
def test_auto_is_what_the_processor_multiplies_fast(processor, features, dtype) -> None:
    processor(*features)
    assert precision.resolve_dtype("auto", CPU) == dtype


@pytest.mark.parametrize(("major", "dtype"), [(7, "float32"), (8, "bfloat16"), (9, "bfloat16")])
def test_auto_on_cuda(monkeypatch: pytest.MonkeyPatch, major: int, dtype: str) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (major, 0))
    assert precision.resolve_dtype("auto", "cuda:0") == dtype


def test_what_is_asked_for_stands(processor) -> None:
    processor("amx_tile")
    assert [precision.resolve_dtype(d, CPU) for d in precision.TORCH_DTYPES] == [
        "float32",
        "bfloat16",
        "float16",
    ]
    with pytest.raises(UsageError, match="did you mean 'bfloat16'"):
        precision.resolve_dtype("bfloat", CPU)


def test_a_torch_that_cannot_be_asked_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
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
