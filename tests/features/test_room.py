"""Keeping the store within its limit without looking through all of it for every video."""

from __future__ import annotations

from pathlib import Path

import pytest

from vtnstream.features.cache import FeatureCache


def make_store(cache: FeatureCache, number: int, size: int) -> None:
    directory = cache.root / "00" / f"{number:04d}"
    directory.mkdir(parents=True)
    (directory / "lock").touch()
    (directory / "000.safetensors").write_bytes(bytes(size))


def test_the_store_is_looked_through_now_and_then_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FeatureCache(tmp_path)
    looks = []
    entries = FeatureCache.entries
    monkeypatch.setattr(FeatureCache, "entries", lambda self: looks.append(1) or entries(self))
    for number in range(100):
        make_store(cache, number, 100)
        FeatureCache(tmp_path).make_room(1_000_000, 100)  # a new object for each video
    assert len(looks) <= 2
    assert len(entries(cache)) == 100


def test_the_limit_holds_all_the_same(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    for number in range(60):
        make_store(cache, number, 100)
        cache.make_room(2_000, 100)
        assert sum(entry.size_bytes for entry in cache.entries()) <= 2_000
    assert len(cache.entries()) > 10
