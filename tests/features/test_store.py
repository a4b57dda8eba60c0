"""Feature stores are complete or absent, checked, keyed and resumable."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vtnstream.errors import StoreError
from vtnstream.features.cache import FeatureCache, record_full_hash
from vtnstream.features.chunk import StoredChunk
from vtnstream.features.key import FeatureKey, FileState, full_sha256, video_identity
from vtnstream.features.lock import StoreLock
from vtnstream.features.store import EndRecord, FeatureStore, StoreLayout
from vtnstream.types import DecodeStats, TokenTimes


def make_times(indices: np.ndarray) -> TokenTimes:
    indices = indices.astype(np.int64)
    return TokenTimes(indices, indices * 512, indices / 2.0, (indices + 1) / 2.0)


def make_chunk(
    number: int, *, tokens: int = 8, features: int = 3, missing: tuple[int, ...] = ()
) -> StoredChunk:
    start = number * tokens
    indices = np.array([i for i in range(start, start + tokens) if i not in missing])
    values = np.random.default_rng(number).normal(size=(len(indices), features))
    return StoredChunk(
        start, start + tokens, values.astype(np.float32), make_times(indices), DecodeStats()
    )


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "film.bin"
    path.write_bytes(np.random.default_rng(0).bytes(3_000_000))
    return path


@pytest.fixture
def key(video: Path) -> FeatureKey:
    return FeatureKey(
        video=video_identity(video),
        stream_index=0,
        sampling={"kind": "rate", "fps": "2"},
        preprocess={"size": 224},
        resizer="test",
        decoder="software",
        backbone="test_vit",
        backbone_arguments={},
        weights_sha256="0" * 64,
        dtype="float32",
        backend="eager:cpu",
    )


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "cache")


LAYOUT = StoreLayout(num_features=3, batch_size=4, chunk_tokens=8)


def fill(store: FeatureStore, numbers: range) -> None:
    store.begin(LAYOUT)
    for number in numbers:
        store.append(make_chunk(number))


def test_chunk_bytes_are_repeatable_and_read_back_equal() -> None:
    chunk = make_chunk(2, missing=(18,))
    data = chunk.to_bytes()
    assert data == chunk.to_bytes()
    again = StoredChunk.from_bytes(data, "chunk")
    np.testing.assert_array_equal(again.values, chunk.values)
    np.testing.assert_array_equal(again.times.indices, chunk.times.indices)
    np.testing.assert_array_equal(again.times.end_seconds, chunk.times.end_seconds)
    assert (again.first_index, again.stop_index) == (16, 24)


def test_every_damaged_byte_of_a_chunk_is_detected() -> None:
    chunk = replace(make_chunk(0), stats=DecodeStats(num_packet_errors=3))
    data = chunk.to_bytes()
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        try:
            again = StoredChunk.from_bytes(bytes(damaged), "chunk")
        except StoreError:
            continue
        # Only white space of the header can change without changing the content.
        np.testing.assert_array_equal(again.values, chunk.values)
        assert again.stats == chunk.stats
    for length in (0, 7, 100, len(data) - 1):
        with pytest.raises(StoreError, match="damaged"):
            StoredChunk.from_bytes(data[:length], "chunk")
    with pytest.raises(StoreError, match="damaged"):
        StoredChunk.from_bytes(bytes(len(data)), "chunk")


@pytest.mark.parametrize(
    "field, value",
    [
        ("stream_index", 1),
        ("sampling", {"kind": "rate", "fps": "4"}),
        ("preprocess", {"size": 160}),
        ("resizer", "other"),
        ("decoder", "nvdec"),
        ("backbone", "resnet50"),
        ("backbone_arguments", {"pad_type": "same"}),
        ("weights_sha256", "1" * 64),
        ("dtype", "bfloat16"),
        ("backend", "inductor:cpu"),
        ("schema", 2),
    ],
)
def test_each_setting_that_changes_features_changes_the_key(
    key: FeatureKey, field: str, value: object
) -> None:
    assert replace(key, **{field: value}).digest != key.digest


def test_sequence_slices_chunks_on_the_grid(
    cache: FeatureCache, key: FeatureKey, video: Path
) -> None:
    with cache.open(key, FileState.of(video)) as store:
        fill(store, range(4))
        whole = np.concatenate([make_chunk(n).values for n in range(4)])
        for first, stop in ((0, None), (0, 32), (5, 21), (8, 16), (31, 32), (3, 4)):
            features = store.sequence(first, stop)
            last = 32 if stop is None else stop
            np.testing.assert_array_equal(features.times.indices, np.arange(first, last))
            for size in (1, 7, 64):
                blocks = list(features.blocks(size))
                assert all(len(block) == size for block in blocks[:-1])
                np.testing.assert_array_equal(np.concatenate(blocks), whole[first:last])


def test_damaged_chunk_counts_as_missing(cache: FeatureCache, key: FeatureKey, video: Path) -> None:
    state = FileState.of(video)
    with cache.open(key, state) as store:
        fill(store, range(3))
        path = store.chunk_path(1)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))
    with cache.open(key, state) as store:
        assert sorted(store.index()) == [0, 2]
        assert not path.exists()


def test_layout_of_the_first_write_is_reused(
    cache: FeatureCache, key: FeatureKey, video: Path
) -> None:
    state = FileState.of(video)
    with cache.open(key, state) as store:
        fill(store, range(1))
    with cache.open(key, state) as store:
        assert store.begin(StoreLayout(3, 16, 64)) == LAYOUT


def test_chunks_without_their_layout_are_not_used(
    cache: FeatureCache, key: FeatureKey, video: Path
) -> None:
    state = FileState.of(video)
    with cache.open(key, state) as store:
        fill(store, range(3))
        store.finish(EndRecord(24, 12.0, DecodeStats(), (), ()))
        (store.directory / "store.json").write_text("{")
    with cache.open(key, state) as store:
        assert store.begin(StoreLayout(3, 5, 10)).chunk_tokens == 10
        assert not store.index()
        assert store.end() is None


def test_features_without_their_identity_are_not_used(
    cache: FeatureCache, key: FeatureKey, video: Path
) -> None:
    state = FileState.of(video)
    with cache.open(key, state) as store:
        fill(store, range(2))
        assert record_full_hash(store, state, full_sha256(video))
        (store.directory / "identity.json").write_text("{")
    with cache.open(key, state) as store:
        assert not store.index()
        assert store.layout is None


def test_layout_is_whole_batches_of_a_megabyte_or_a_minute() -> None:
    assert StoreLayout.plan(768, 32, 2.0) == StoreLayout(768, 32, 128)
    assert StoreLayout.plan(2048, 32, 30.0) == StoreLayout(2048, 32, 128)
    assert StoreLayout.plan(192, 32, 30.0) == StoreLayout(192, 32, 1376)
    assert StoreLayout.plan(192, 32, 0.1) == StoreLayout(192, 32, 32)


def test_end_record_is_stored_and_damage_to_it_is_detected(
    cache: FeatureCache, key: FeatureKey, video: Path
) -> None:
    end = EndRecord(24, 12.0, DecodeStats(num_corrupt=2), ("short",), ("odd",))
    with cache.open(key, FileState.of(video)) as store:
        assert store.end() is None
        store.finish(end)
        assert store.end() == end
        path = store.directory / "end.json"
        path.write_text(path.read_text().replace("24", "25"))
        assert store.end() is None


def test_moved_file_is_recognised_by_its_full_hash(
    cache: FeatureCache, key: FeatureKey, video: Path
) -> None:
    state = FileState.of(video)
    with cache.open(key, state) as store:
        fill(store, range(2))
        assert record_full_hash(store, state, full_sha256(video))
        directory = store.directory
    moved = video.rename(video.with_name("moved.bin"))
    with cache.open(key, FileState.of(moved)) as store:
        assert store.directory == directory
        assert sorted(store.index()) == [0, 1]


def test_edit_between_the_sampled_blocks_is_another_video(
    cache: FeatureCache, key: FeatureKey, video: Path
) -> None:
    state = FileState.of(video)
    with cache.open(key, state) as store:
        fill(store, range(2))
        assert record_full_hash(store, state, full_sha256(video))
        directory = store.directory
    data = bytearray(video.read_bytes())
    data[100_000] ^= 1
    video.write_bytes(bytes(data))
    os.utime(video, ns=(1, 1))
    assert video_identity(video) == key.video  # the block hash alone is blind to it
    with cache.open(key, FileState.of(video)) as store:
        assert store.directory != directory
        assert not store.index()


def test_features_of_a_moved_file_without_a_hash_are_not_used(
    cache: FeatureCache, key: FeatureKey, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vtnstream.features.cache._SMALL_BYTES", 0)
    with cache.open(key, FileState.of(video)) as store:
        fill(store, range(2))
        assert store.video_sha256 is None  # interrupted before the hash was known
    moved = video.rename(video.with_name("moved.bin"))
    with cache.open(key, FileState.of(moved)) as store:
        assert not store.index()
        assert store.layout is None


def test_prune_removes_least_recently_used_stores_and_keeps_open_ones(
    cache: FeatureCache, key: FeatureKey, video: Path
) -> None:
    state = FileState.of(video)
    directories = []
    for number in range(3):
        with cache.open(replace(key, backbone=f"b{number}"), state) as store:
            fill(store, range(2))
            directories.append(store.directory)
        os.utime(directories[-1] / "lock", (number, number))
    one = cache.entries()[0].size_bytes
    with cache.open(replace(key, backbone="b0"), state):
        os.utime(directories[0] / "lock", (0, 0))
        removed = cache.prune(2 * one + one // 2)
        assert [entry.directory for entry in removed] == [directories[1]]
    assert directories[0].exists() and directories[2].exists()
    assert len(cache.prune(0)) == 2
    assert cache.entries() == []


def test_a_store_without_chunks_is_removed(
    cache: FeatureCache, key: FeatureKey, video: Path
) -> None:
    with pytest.raises(ZeroDivisionError), cache.open(key, FileState.of(video)) as store:
        store.begin(LAYOUT)
        raise ZeroDivisionError
    assert not cache.entries()
    assert not store.directory.exists()


def test_the_cache_is_pruned_after_enough_growth(
    cache: FeatureCache, key: FeatureKey, video: Path
) -> None:
    state = FileState.of(video)
    limit = 40 * 2**20
    for number in range(3):
        with cache.open(replace(key, backbone=f"b{number}"), state) as store:
            fill(store, range(1))
            (store.directory / "ballast.bin").write_bytes(bytes(15 * 2**20))
            os.utime(store.directory / "lock", (number, number))
    cache.make_room(limit, 1)  # the first look finds 45 of 40 MB
    assert [entry.backbone for entry in cache.entries()] == ["b1", "b2"]
    with cache.open(replace(key, backbone="b3"), state) as store:
        fill(store, range(1))
        (store.directory / "ballast.bin").write_bytes(bytes(15 * 2**20))
    cache.make_room(limit, 2**20)
    assert len(cache.entries()) == 3  # a 20th of the limit is not reached
    cache.make_room(limit, 2 * 2**20)
    assert [entry.backbone for entry in cache.entries()] == ["b2", "b3"]


def test_second_writer_waits_for_the_first(tmp_path: Path) -> None:
    first, second = StoreLock(tmp_path / "lock"), StoreLock(tmp_path / "lock")
    assert first.try_acquire(exclusive=True)
    assert not second.try_acquire(exclusive=True)
    assert not second.try_acquire(exclusive=False)
    assert first.try_acquire(exclusive=False)
    assert second.try_acquire(exclusive=False)
    first.release()
    assert second.try_acquire(exclusive=True)
    second.release()


def test_a_full_disk_is_one_error_line_and_leaves_no_file(
    cache: FeatureCache, key: FeatureKey, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with cache.open(key, FileState.of(video)) as store:
        fill(store, range(1))
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match=r"No space left on device.*--cache-dir"):
            store.append(make_chunk(1))
        monkeypatch.undo()
        assert sorted(store.index()) == [0]
        assert not [path for path in store.directory.iterdir() if path.suffix == ".tmp"]
        store.append(make_chunk(1))
        assert sorted(store.index()) == [0, 1]


def test_a_store_is_synced_from_its_second_chunk_on(
    cache: FeatureCache, key: FeatureKey, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    state = FileState.of(video)
    with cache.open(key, state) as store:
        store.begin(StoreLayout(3, 4, 8))
        store.append(make_chunk(0))
        assert not store.is_durable
        record_full_hash(store, state, full_sha256(video))
        assert synced == []
        store.append(make_chunk(1))
        assert store.is_durable
        assert {"identity.json", "store.json", "00000000.safetensors"} <= set(synced)
        done = len(synced)
        store.append(make_chunk(2))
        assert len(synced) == done + 2  # the file and its folder
