"""Feature chunks, stores and files, for any features, gaps, ranges and block sizes."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vtnstream.errors import StoreError
from vtnstream.features.cache import FeatureCache
from vtnstream.features.chunk import StoredChunk
from vtnstream.features.file import FeatureFile, write_features
from vtnstream.features.key import FeatureKey, FileState, video_identity
from vtnstream.features.store import StoreLayout
from vtnstream.types import DecodeStats, Features, TokenTimes


@st.composite
def sequences(draw: st.DrawFn, most: int = 60) -> Features:
    """Features of up to ``most`` grid positions, of which some are missing."""
    present = draw(st.lists(st.booleans(), min_size=1, max_size=most))
    indices = np.flatnonzero(present).astype(np.int64)
    step = draw(st.sampled_from((0.1, 0.5, 1.0)))
    times = TokenTimes(indices, 512 * indices, indices * step, (indices + 1) * step)
    width = draw(st.integers(1, 5))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return Features(random.normal(size=(len(indices), width)).astype(np.float32), times)


def chunks_of(features: Features, size: int) -> list[StoredChunk]:
    """The sequence, cut on the grid."""
    indices = features.times.indices
    count = -(-(int(indices[-1]) + 1) // size) if len(indices) else 1
    found = []
    for number in range(count):
        low, high = np.searchsorted(indices, [number * size, (number + 1) * size])
        part = slice(int(low), int(high))
        found.append(
            StoredChunk(
                number * size,
                (number + 1) * size,
                features.values[part],
                features.times[part],
                DecodeStats(num_corrupt=number),
            )
        )
    return found


def same(left: TokenTimes, right: TokenTimes) -> bool:
    names = ("indices", "pts", "start_seconds", "end_seconds")
    return all(np.array_equal(getattr(left, n), getattr(right, n)) for n in names)


@given(sequences(), st.integers(1, 16))
def test_chunks_read_back_equal(features: Features, size: int) -> None:
    for chunk in chunks_of(features, size):
        again = StoredChunk.from_bytes(chunk.to_bytes(), "chunk")
        assert np.array_equal(again.values, chunk.values)
        assert same(again.times, chunk.times)
        assert (again.first_index, again.stop_index) == (chunk.first_index, chunk.stop_index)
        assert again.stats == chunk.stats
        assert again.to_bytes() == chunk.to_bytes()


@given(sequences(most=12), st.data())
def test_a_changed_or_shortened_chunk_is_noticed(features: Features, data: st.DataObject) -> None:
    whole = chunks_of(features, 16)[0].to_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] ^= data.draw(st.integers(1, 255))
    for damaged in (bytes(changed), whole[:place]):
        try:
            again = StoredChunk.from_bytes(damaged, "chunk")
        except StoreError as error:
            assert "damaged feature chunk" in str(error)
        else:  # blanks around JSON may change, nothing else
            assert again.to_bytes() == whole


@settings(max_examples=max(25, settings.default.max_examples // 4))  # files are synced
@given(sequences(), st.integers(1, 8), st.integers(1, 20), st.data())
def test_any_range_of_a_store_in_any_blocks(
    features: Features, size: int, block: int, data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, 70))
    stop = data.draw(st.none() | st.integers(first, 80))
    with TemporaryDirectory() as name:
        video = Path(name) / "video.bin"
        video.write_bytes(b"video")
        key = FeatureKey(
            video_identity(video), 0, {}, {}, "r", "d", "b", {}, "0" * 64, "float32", "eager"
        )
        with FeatureCache(Path(name) / "cache").open(key, FileState.of(video)) as store:
            store.begin(StoreLayout(features.num_features, 1, size))
            order = data.draw(st.permutations(chunks_of(features, size)))
            for chunk in order:
                store.append(chunk)
            found = store.sequence(first, stop)
            wanted = features.times.indices >= first
            if stop is not None:
                wanted &= features.times.indices < stop
            assert np.array_equal(found.times.indices, features.times.indices[wanted])
            blocks = list(found.blocks(block))
            assert [len(b) for b in blocks[:-1]] == [block] * (len(blocks) - 1)
            values = np.concatenate(blocks) if blocks else np.empty((0, features.num_features))
            assert np.array_equal(values, features.values[wanted])


@settings(max_examples=max(25, settings.default.max_examples // 4))
@given(sequences(), st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3))
def test_feature_files_read_back_equal(features: Features, about: dict[str, str]) -> None:
    with TemporaryDirectory() as name:
        path = Path(name) / "features.safetensors"
        about.pop("sha256", None)
        write_features(path, features, about)
        again = FeatureFile(path)
        assert same(again.times, features.times)
        values = [*again.blocks(7)]
        joined = np.concatenate(values) if values else np.empty((0, features.num_features))
        assert np.array_equal(joined, features.values)
        assert about.items() <= dict(again.metadata).items()
