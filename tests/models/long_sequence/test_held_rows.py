"""Held rows compared with a slice of the sequence."""

from __future__ import annotations

import pytest
import torch

from vtnstream.models.long_sequence.held_rows import HeldRows


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_kept_until_they_are_dropped(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)

    def draw(most: int) -> int:
        return int(torch.randint(0, most + 1, (1,), generator=random))

    whole = torch.arange(2 * 400).view(400, 2, 1)
    held, first, stop = HeldRows(whole, 2, 1), 0, 0
    for _ in range(40):
        new = min(draw(20), len(whole) - stop)
        held.append(whole[stop : stop + new])
        stop += new
        assert torch.equal(held.rows, whole[first:stop])
        gone = draw(stop - first)
        held.forget(gone)
        first += gone
        assert torch.equal(held.rows, whole[first:stop])


def test_memory_is_reused() -> None:
    held = HeldRows(torch.empty(0), 3)
    held.append(torch.zeros(8, 3))
    place = held.rows.data_ptr()
    for _ in range(5):
        held.forget(6)
        held.append(torch.zeros(6, 3))
    assert held.rows.data_ptr() == place and held.rows.shape == (8, 3)
