from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.models.small import HEAD, as_batch, sequence, small_vtn
from vtnstream.config import HeadConfig
from vtnstream.errors import ModelError
from vtnstream.models.long_sequence.windows import LONGEST_WINDOW, encode_windows


@pytest.mark.parametrize("feature_norm", ["none", "dataset", "video_mean", "running_mean"])
@pytest.mark.parametrize("window_positions", ["absolute", "clip"])
@pytest.mark.parametrize(
    ("count", "window", "starts"),
    [
        (150, 20, [*range(0, 131, 10)]),
        (150, 20, [*range(0, 130, 20), 130]),
        (9, 20, [0]),
        (20, 20, [0]),
        (900, 2, [0, 1, 898]),
        (1700, LONGEST_WINDOW + 40, [0, 200, 1700 - LONGEST_WINDOW - 40]),
    ],
)
def test_each_window_equals_the_plain_model(
    feature_norm: str, window_positions: str, count: int, window: int, starts: list[int]
) -> None:
    model = small_vtn(
        feature_norm=feature_norm, window_positions=window_positions, positions="learned"
    )
    features = sequence(count)
    result = list(encode_windows(model, features, starts=starts, window=window))
    assert [start for start, _ in result] == starts

    tokens, indices = as_batch(features)
    with torch.no_grad():
        normal = model.normalize(tokens)  # over the whole range, not the window
        for start, logits in result:
            part = slice(start, start + window)
            places = indices[:, part]
            if window_positions == "clip":
                places = places - places[:, :1]
            encoded = model.encode_time(normal[:, part], indices=places)
            expected = model.heads(encoded).logits
            assert expected is not None
            np.testing.assert_allclose(logits, expected[0].numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batch_size_changes_nothing(batch_size: int) -> None:
    model, features = small_vtn(), sequence(100)
    arguments = {"starts": range(0, 85, 5), "window": 16}
    ours = encode_windows(model, features, batch_size=batch_size, **arguments)
    default = encode_windows(model, features, **arguments)
    for (start, one), (same, other) in zip(ours, default, strict=True):
        assert start == same
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_windows_need_a_class_head() -> None:
    model = small_vtn(head=replace(HEAD, labels=()))
    with pytest.raises(ModelError, match="no class head"):
        next(encode_windows(model, sequence(10), starts=[0], window=5))
    assert HeadConfig().labels == ()
