"""The options given to TensorRT that determine results, tested without TensorRT."""

from __future__ import annotations

from typing import Any

import torch

from vtnstream.models.compile.tensorrt import compile_options


def since_2_11(program: Any, *, attn_bias_is_causal: bool = True, device: Any = None) -> None:
    """The signature of torch-tensorrt 2.11, whose default takes a bias for a causal mask."""


def before_2_11(program: Any, *, device: Any = None) -> None:
    """The signature before."""


def test_an_attention_bias_is_never_taken_for_a_causal_mask() -> None:
    example = torch.zeros(1, 3, 8, 8)
    options = compile_options(since_2_11, example)
    assert options["attn_bias_is_causal"] is False
    assert options["device"] == example.device and options["disable_tf32"] is True
    assert "attn_bias_is_causal" not in compile_options(before_2_11, example)
