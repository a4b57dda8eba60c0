"""States in a file give the same results as in memory, and the file is removed."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.models.small import sequence, small_vtn
from vtnstream.errors import StoreError
from vtnstream.models.long_sequence import state_file, states
from vtnstream.models.long_sequence.states import state_buffer
from vtnstream.models.long_sequence.streaming import encode_sequence


@pytest.mark.parametrize("dense", [True, False])
def test_states_on_disk_are_bit_identical(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dense: bool
) -> None:
    model, features = small_vtn(num_layers=3), sequence(300)
    expected = encode_sequence(model, features, block_size=64, dense=dense)
    made: list[Path | None] = []
    real = state_file.mapped_file

    def watched(folder: Path | None, num_bytes: int) -> object:
        made.append(folder)
        return real(folder, num_bytes)

    monkeypatch.setattr(states, "mapped_file", watched)
    monkeypatch.setattr(states, "STATES_IN_MEMORY", 0)
    found = encode_sequence(model, features, block_size=64, dense=dense, scratch=tmp_path / "deep")
    assert made == [tmp_path / "deep"]
    np.testing.assert_array_equal(found.logits, expected.logits)
    if dense:
        np.testing.assert_array_equal(found.dense_logits, expected.dense_logits)
    assert os.listdir(tmp_path / "deep") == []


def test_small_states_stay_in_memory(tmp_path: Path) -> None:
    with state_buffer(torch.zeros(1), 10, 4, tmp_path / "absent") as buffer:
        assert buffer.rows.shape == (10, 4)
        buffer.rows.zero_()
        buffer.release(0, 10)
        assert not buffer.rows.any()
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_states_in_a_file(tmp_path: Path, dtype: torch.dtype) -> None:
    values = torch.randn(1000, 8).to(dtype)
    with state_buffer(torch.zeros(1, dtype=dtype), 1000, 8, tmp_path, 0) as buffer:
        buffer.rows[:] = values
        assert buffer.rows.dtype == dtype and torch.equal(buffer.rows, values)
        buffer.release(0, 999)
        assert torch.equal(buffer.rows, values), "resting rows keep their numbers"
    kept = buffer.rows[3].clone()  # a tensor that outlives the context does no harm
    assert torch.equal(kept, values[3])
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_released_rows_leave_memory(tmp_path: Path) -> None:
    def resident() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line[:8] in ("RssFile:", "RssShmem"))

    with state_buffer(torch.zeros(1), 20_000, 256, tmp_path, 0) as buffer:  # 20 MB
        before = resident()
        for start in range(0, 20_000, 1000):
            buffer.rows[start : start + 1000] = float(start)
            buffer.release(start, start + 1000)
        assert resident() - before < 4_000, "kB"
        assert (buffer.rows[:, 0] == torch.arange(0, 20_000, 1000.0).repeat_interleave(1000)).all()
        assert resident() - before > 15_000, "and reading brings them back"


def test_nothing_is_left_after_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        state_buffer(torch.zeros(1), 1000, 8, tmp_path, 0) as buffer,
    ):
        buffer.rows.zero_()
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of POSIX")
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with (
            pytest.raises(StoreError, match=r"no room for .* GB .*--cache-dir") as caught,
            state_buffer(torch.zeros(1), 1000, 8, tmp_path, 0),
        ):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StoreError, match="no room"),
        state_buffer(torch.zeros(1), 1000, 8, tmp_path / "file", 0),
    ):
        pass
