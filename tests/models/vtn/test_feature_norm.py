from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.models.small import sequence
from vtnstream.errors import ModelError
from vtnstream.models.vtn.feature_norm import FeatureNorm

KINDS = ("none", "dataset", "video_mean", "running_mean")


def norm(kind: str) -> FeatureNorm:
    made = FeatureNorm(kind, 6)
    if kind != "none":
        made.set_statistics(torch.arange(6.0), torch.arange(1.0, 7.0))
    return made


def by_definition(kind: str, values: torch.Tensor) -> torch.Tensor:
    """Normalise (T, D) by the definition."""
    mean, std = torch.arange(6.0), torch.arange(1.0, 7.0)
    if kind == "none":
        return values
    if kind == "video_mean":
        mean = values.mean(0)
    if kind == "running_mean":
        mean = torch.stack([values[: t + 1].mean(0) for t in range(len(values))])
    return (values - mean) / std


@pytest.mark.parametrize("kind", KINDS)
def test_definition_and_padding(kind: str) -> None:
    values = torch.randn(2, 30, 6) + 3
    mask = torch.ones(2, 30, dtype=torch.bool)
    mask[1, 17:] = False
    values[1, 17:] = 1e6
    result = norm(kind)(values, mask)
    torch.testing.assert_close(result[0], by_definition(kind, values[0]))
    torch.testing.assert_close(result[1, :17], by_definition(kind, values[1, :17]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("block_size", [1, 7, 100])
def test_blocks_equal_the_whole(kind: str, block_size: int) -> None:
    features = sequence(50, 6)
    apply = norm(kind).over(features, block_size)
    blocks = [apply(torch.tensor(block)) for block in features.blocks(block_size)]
    whole = norm(kind)(torch.tensor(features.values)[None])[0]
    torch.testing.assert_close(torch.cat(blocks), whole, rtol=1e-6, atol=1e-6)


def test_running_mean_is_causal() -> None:
    values = torch.randn(1, 20, 6)
    before = norm("running_mean")(values)
    values[:, 12:] += 100
    after = norm("running_mean")(values)
    assert torch.equal(before[:, :12], after[:, :12])


def test_mean_of_hours_is_exact() -> None:
    """Sums in float32 would be wrong in the third digit here."""
    values = np.full((400_000, 1), 4096.1, np.float32)
    normal = FeatureNorm("video_mean", 1)(torch.tensor(values)[None])
    assert float(normal.abs().max()) < 1e-3


def test_statistics_are_saved_and_checked() -> None:
    made = norm("dataset")
    assert set(made.state_dict()) == {"mean", "std"}
    assert not FeatureNorm("none", 6).state_dict()
    made.set_statistics(torch.zeros(6), torch.tensor([0.0, 1, 2, 3, 4, 5]))
    assert made.std.tolist() == [1, 1, 2, 3, 4, 5], "what never varies keeps its scale"
    with pytest.raises(ModelError, match="not finite"):
        made.set_statistics(torch.full((6,), float("nan")), torch.ones(6))
    with pytest.raises(ModelError, match="'none'"):
        FeatureNorm("none", 6).set_statistics(torch.zeros(6), torch.ones(6))
