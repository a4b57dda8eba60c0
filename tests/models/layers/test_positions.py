from __future__ import annotations

import torch

from vtnstream.models.layers.positions import (
    rotate,
    rotation,
    sinusoidal,
    sinusoidal_table,
    table_rows,
)


def test_table_rows_wrap_and_padding_is_last() -> None:
    indices = torch.tensor([[0, 285, 286, 287, 600]])
    mask = torch.tensor([[True, True, True, True, False]])
    assert table_rows(indices, mask, 288).tolist() == [[0, 285, 0, 1, 287]]


def test_sinusoids_at_large_positions() -> None:
    position = 1_000_003
    row = sinusoidal(torch.tensor([position]), 6)[0].double()
    for pair in range(3):
        angle = torch.tensor(position, dtype=torch.float64) / 10_000 ** (pair / 3)
        torch.testing.assert_close(row[2 * pair], angle.sin(), atol=1e-6, rtol=0)
        torch.testing.assert_close(row[2 * pair + 1], angle.cos(), atol=1e-6, rtol=0)


def test_table_starts_at_amplitude_one() -> None:
    table = sinusoidal_table(50, 64)
    assert table[:-1].abs().max() > 0.99
    torch.testing.assert_close(table[:-1].square().mean(), torch.tensor(0.5))
    assert not table[-1].any()


def test_rotation_depends_on_distance_only() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(1, 1, 1, 16), torch.randn(1, 1, 1, 16)

    def score(first: int, second: int) -> torch.Tensor:
        turned = rotate(query, rotation(torch.tensor([[first]]), 16))
        other = rotate(key, rotation(torch.tensor([[second]]), 16))
        return (turned * other).sum()

    torch.testing.assert_close(score(3, 10), score(500_003, 500_010), atol=1e-5, rtol=1e-5)
    assert (score(3, 10) - score(3, 17)).abs() > 1e-2


def test_rotation_keeps_length_and_dtype() -> None:
    heads = torch.randn(2, 5, 3, 8)
    turn = rotation(torch.arange(5).expand(2, -1), 8)
    torch.testing.assert_close(rotate(heads, turn).norm(dim=-1), heads.norm(dim=-1))
    assert rotate(heads.bfloat16(), turn).dtype == torch.bfloat16
