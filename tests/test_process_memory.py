"""Memory is returned to the system without loss, and nothing happens without glibc."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from vtnstream import process_memory
from vtnstream.process_memory import keep_freed_memory, page_out_file, trim

MEGABYTE = 2**20


def resident_file_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssFile:"):
            return int(line.split()[1]) * 1024
    raise AssertionError


@pytest.mark.skipif(sys.platform != "linux", reason="Linux gives pages back")
def test_pages_of_a_file_are_released_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.arange(16 * 2**20 // 4).float().reshape(1024, -1)}, path)
    module = nn.Linear(4096, 1024, bias=False)
    module.load_state_dict(load_file(path), assign=True)
    with torch.no_grad():
        module.weight[3] += 1  # a page of its own by now: never lost
        expected = module.weight.sum(dtype=torch.float64)
    before = resident_file_bytes()
    page_out_file(path)
    assert resident_file_bytes() < before - 12 * MEGABYTE
    with torch.no_grad():
        assert module.weight.sum(dtype=torch.float64) == expected
        assert module.weight[3, 0] == 3 * 4096 + 1


class OtherLibrary:
    """A C library without glibc's functions."""

    def __init__(self, name: str | None) -> None:
        pass


def test_another_c_library_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", OtherLibrary)
    process_memory._libc.cache_clear()
    try:
        assert process_memory._libc() is None
        module = nn.Linear(64, 64)
        expected = module.weight.sum().item()
        keep_freed_memory()
        trim()
        page_out_file(tmp_path)
        assert module.weight.sum().item() == expected
    finally:
        process_memory._libc.cache_clear()


def test_trimming_keeps_tensors() -> None:
    module = nn.Linear(512, 512)
    expected = module.weight.sum().item()
    trim()
    assert module.weight.sum().item() == expected
