"""Windows classified during the pass over the sequence, compared with separate windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.models.small import HEAD, sequence, small_vtn
from vtnstream.config import HeadConfig
from vtnstream.models.long_sequence import shared_windows
from vtnstream.models.long_sequence.shared_windows import SharedWindows
from vtnstream.models.long_sequence.streaming import encode_sequence
from vtnstream.models.long_sequence.windows import LONGEST_WINDOW, encode_windows, windows_at_once
from vtnstream.models.vtn.model import VTN
from vtnstream.types import Features, FloatArray

WINDOW = 24


def both_ways(
    model: VTN,
    features: Features,
    starts: list[int],
    window: int = WINDOW,
    block_size: int | None = 32,
) -> tuple[FloatArray, FloatArray]:
    """Return (windows, K) logits with shared and with separate windows.

    The result for the sequence itself is the same with and without windows.
    """
    assert SharedWindows.supports(model, len(features.times), window)
    found: list[tuple[int, FloatArray]] = []
    windows = SharedWindows(
        *(model, features.times.indices, starts, window),
        lambda start, logits: found.append((start, logits)),
    )
    output = encode_sequence(model, features, block_size=block_size, windows=windows)
    plain = encode_sequence(model, features, block_size=block_size)
    np.testing.assert_array_equal(output.logits, plain.logits)
    if plain.dense_logits is not None:
        np.testing.assert_array_equal(output.dense_logits, plain.dense_logits)
    expected = list(encode_windows(model, features, starts=starts, window=window))
    assert [start for start, _ in found] == [start for start, _ in expected] == starts
    return np.stack([logits for _, logits in found]), np.stack([x for _, x in expected])


def check(model: VTN, features: Features, starts: list[int], **rest: Any) -> None:
    found, expected = both_ways(model, features, starts, **rest)
    assert np.ptp(expected, axis=0).max() > 1e-3, "windows that all say the same prove nothing"
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("count", "starts"),
    [
        (150, [*range(0, 120, 12), 126]),
        (150, [*range(0, 127)]),
        (150, [3, 3, 90]),
        (24, [0]),
        (25, [0, 1]),
    ],
)
@pytest.mark.parametrize("block_size", [7, 32, None])
def test_equal_for_any_windows_and_blocks(
    count: int, starts: list[int], block_size: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_windows, "windows_at_once", lambda *_: 4)
    model = small_vtn()
    found, expected = both_ways(model, sequence(count), starts, block_size=block_size)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("positions", ["rotary", "learned", "fixed", "none"])
@pytest.mark.parametrize("feature_norm", ["none", "running_mean"])
def test_equal_for_any_position_and_norm(positions: str, feature_norm: str) -> None:
    model = small_vtn(positions=positions, feature_norm=feature_norm)
    check(model, sequence(150), [0, 12, 60, 126])


@pytest.mark.parametrize(
    "temporal",
    [
        {"num_layers": 3, "attention_window": (4, 30, 100)},
        {"hidden_size": 32, "token_inputs": "feature+difference"},
        {"attention_window": (4,), "dilation": ((1, 1, 2, 4),)},
        {"attention_window": (2,), "dilation": ((5,),)},
        {"num_global_tokens": 3},
        {"attention": "uniform"},
    ],
)
def test_equal_for_any_shape(temporal: dict[str, Any]) -> None:
    check(small_vtn(**temporal), sequence(150), [0, 12, 60, 126])


def test_class_head_only() -> None:
    check(small_vtn(head=HeadConfig(labels=HEAD.labels)), sequence(150), [0, 12, 60, 126])


def test_no_global_attention() -> None:
    """[CLS] attends to nothing and is the same for all windows."""
    found, expected = both_ways(small_vtn(global_attention=False), sequence(150), [0, 60])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_half_precision() -> None:
    model = small_vtn(num_layers=3).in_precision(torch.bfloat16)
    found, expected = both_ways(model, sequence(150), [0, 12, 60, 126])
    exact = [x for _, x in encode_windows(small_vtn(num_layers=3), sequence(150),
                                          starts=[0, 12, 60, 126], window=WINDOW)]  # fmt: skip
    assert np.abs(found - exact).max() < 2 * max(np.abs(expected - exact).max(), 0.01)


@pytest.mark.parametrize(
    ("temporal", "count", "window"),
    [
        ({"window_positions": "clip"}, 150, WINDOW),
        ({"causal": True}, 150, WINDOW),
        ({"num_layers": 1}, 150, WINDOW),
        ({"kind": "full"}, 150, WINDOW),
        ({"attention_window": (WINDOW,)}, 150, WINDOW),
        ({}, WINDOW - 1, WINDOW),
        ({}, 3000, LONGEST_WINDOW + 1),
    ],
)
def test_windows_without_a_shared_first_layer(
    temporal: dict[str, Any], count: int, window: int
) -> None:
    assert not SharedWindows.supports(small_vtn(**temporal), count, window)


def test_only_tokens_of_later_windows_are_held() -> None:
    model, features = small_vtn(), sequence(5_000)
    most = 0

    def watch(start: int, logits: FloatArray) -> None:
        nonlocal most
        held = (windows._inputs, windows._outputs, windows._keys, windows._values)
        most = max(most, *(len(each.rows) for each in held))

    starts = [*range(0, 5_000 - WINDOW + 1, 12)]
    windows = SharedWindows(model, features.times.indices, starts, WINDOW, watch)
    encode_sequence(model, features, block_size=64, windows=windows)
    assert 0 < most <= (windows_at_once(model, WINDOW) - 1) * 12 + WINDOW + 64
    assert len(windows._inputs.rows) < WINDOW
