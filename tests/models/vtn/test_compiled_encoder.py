"""The compiled temporal encoder equals the uncompiled one at any length, or is not used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from tests.models.small import sequence, small_vtn
from vtnstream.errors import EngineError
from vtnstream.models.long_sequence.streaming import encode_sequence
from vtnstream.models.long_sequence.windows import encode_windows
from vtnstream.models.vtn.compiled_encoder import choose_encoder, compile_encoder
from vtnstream.models.vtn.model import VTN


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    yield
    torch.compiler.reset()


def check_equal(plain: VTN, compiled: VTN, tolerance: float) -> None:
    for count in (1, 7, 300):
        features = sequence(count)
        expected, found = (encode_sequence(m, features, block_size=64) for m in (plain, compiled))
        for name in ("logits", "dense_logits"):
            wanted = getattr(expected, name)
            atol = tolerance * max(1.0, float(np.abs(wanted).max()))
            np.testing.assert_allclose(getattr(found, name), wanted, atol=atol)
    windows = [
        np.stack([x for _, x in encode_windows(m, features, starts=[0, 20, 40], window=32)])
        for m in (plain, compiled)
    ]
    np.testing.assert_allclose(windows[1], windows[0], atol=tolerance * np.abs(windows[0]).max())


@pytest.mark.parametrize(
    ("compiler", "dtype", "tolerance"),
    [
        ("eager", torch.float32, 1e-6),
        pytest.param("inductor", torch.float32, 1e-4, marks=pytest.mark.slow),
        pytest.param("inductor", torch.bfloat16, 0.05, marks=pytest.mark.slow),
    ],
)
def test_results_are_those_of_the_plain_encoder(
    compiler: str, dtype: torch.dtype, tolerance: float
) -> None:
    plain = small_vtn(positions="rotary").in_precision(dtype)
    compiled = compile_encoder(plain, compiler)
    check_equal(plain, compiled, tolerance)
    for mine, its in zip(plain.parameters(), compiled.parameters(), strict=True):
        assert mine.data_ptr() == its.data_ptr(), "the weights are not copied"


def wrong(graph: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
    return lambda *operands: [2 * each for each in graph(*operands)]


def failing(graph: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
    raise RuntimeError("no kernel\nmore lines")


@pytest.mark.parametrize(
    ("compiler", "message"), [(wrong, "differs by"), (failing, "cannot be compiled .*no kernel")]
)
def test_wrong_or_failing_compilers_are_one_line(compiler: Any, message: str) -> None:
    with pytest.raises(EngineError, match=message) as caught:
        compile_encoder(small_vtn(), compiler)
    assert "\n" not in str(caught.value)


def test_a_cpu_keeps_the_plain_encoder() -> None:
    model = small_vtn()
    for backend in ("inductor", "auto", "eager"):
        choice = choose_encoder(model, backend)
        assert choice.model is model and (choice.backend, choice.problem) == ("eager", None)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_gpu_compiles_it(dtype: torch.dtype) -> None:
    model = small_vtn().to("cuda").in_precision(dtype)
    choice = choose_encoder(model, "inductor")
    assert (choice.backend, choice.problem) == ("inductor", None)
    check_equal(model, choice.model, 0.05)
