"""A library of many vectors beside faiss and a plain numpy scan: build time, size, latency, recall.

Vectors are made from real features: rows of a feature file (``vtnstream extract``), reduced by
principal components to ``--size`` numbers, repeated with noise and scaled to length 1. Queries are
further such rows. ``recall@10`` is the share of the ten vectors of the exact scan that are found.

    python -m benchmarks library --features film.safetensors --count 1000000 --size 64
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from benchmarks import common
from vtnstream.library.store import LibraryAbout, LibraryStore, VideoRow
from vtnstream.types import FloatArray
from vtnstream.words.vectors import unit

_BLOCK = 50_000
_TOP = 10


def main(arguments: list[str]) -> None:
    """Build, ask, compare."""
    parser = common.parser("library", __doc__)
    parser.add_argument("--features", type=Path, required=True, nargs="+")
    parser.add_argument("--count", type=int, default=10_000_000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--noise", type=float, default=0.05, help="deviation of each number")
    parser.add_argument("--queries", type=int, default=200)
    options = parser.parse_args(arguments)
    settings = {"vectors": f"{options.count:,}", "size": options.size, "noise": options.noise}
    result = common.Result("library", settings)
    basis = _basis(options.features, options.size)
    queries = _made(basis, options.queries, options.noise, seed=1)
    table = result.table(
        "Ten nearest of a library",
        "way", "build s", "size MB", "p50 ms", "p99 ms", "recall@10",
    )  # fmt: skip
    vectors = np.concatenate(
        [
            _made(basis, min(_BLOCK, options.count - start), options.noise, seed=start + 2)
            for start in range(0, options.count, _BLOCK)
        ]
    )
    common.say("numpy")
    exact, seconds = _asked(queries, lambda q: np.argpartition(-(vectors @ q), _TOP)[:_TOP])
    table.add("numpy, every vector", 0.0, vectors.nbytes / 1e6, *_latency(seconds), 1.0)
    result.keep(options)
    _faiss(vectors, queries, exact, table)
    result.keep(options)
    _ours(vectors, queries, exact, table)
    result.deliver(options)


def _basis(paths: list[Path], size: int) -> FloatArray:
    """Real features on their first principal components, of length 1."""
    rows = unit(np.concatenate([load_file(path)["features"] for path in paths]))
    centred = rows - rows.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    return unit(np.asarray(centred @ axes[:size].T, np.float32))


def _made(basis: FloatArray, count: int, noise: float, seed: int) -> FloatArray:
    random = np.random.default_rng(seed)
    rows = basis[random.integers(0, len(basis), count)]
    return unit(rows + noise * random.standard_normal(rows.shape, np.float32))


def _asked(
    queries: FloatArray, ask: Callable[[FloatArray], np.ndarray]
) -> tuple[list[set[int]], list[float]]:
    answers, seconds = [], []
    for query in queries:
        began = time.perf_counter()
        found = ask(query)
        seconds.append(time.perf_counter() - began)
        answers.append(set(map(int, found)))
    return answers, seconds


def _latency(seconds: list[float]) -> tuple[float, float]:
    return float(np.quantile(seconds, 0.5) * 1e3), float(np.quantile(seconds, 0.99) * 1e3)


def _recall(found: list[set[int]], exact: list[set[int]]) -> float:
    return float(np.mean([len(a & b) / len(b) for a, b in zip(found, exact, strict=True)]))


def _faiss(
    vectors: FloatArray, queries: FloatArray, exact: list[set[int]], table: common.Table
) -> None:
    try:
        import faiss
    except ImportError as error:
        table.add(f"faiss ({error})", None, None, None, None, None)
        return
    common.say("faiss")
    count, size = vectors.shape
    lists = max(1, round(count**0.5))
    began = time.perf_counter()
    index = faiss.index_factory(size, f"IVF{lists},PQ{size // 8}", faiss.METRIC_INNER_PRODUCT)
    random = np.random.default_rng(0)
    index.train(vectors[random.choice(count, min(count, 64 * lists), replace=False)])
    index.add(vectors)
    built = time.perf_counter() - began
    faiss.extract_index_ivf(index).nprobe = 40
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        faiss.write_index(index, str(path))
        megabytes = path.stat().st_size / 1e6

    def ask(query: FloatArray) -> np.ndarray:
        _, found = index.search(query[None], 200)
        near = found[0][found[0] >= 0]
        return np.asarray(near[np.argsort(-(vectors[near] @ query))[:_TOP]])

    answers, seconds = _asked(queries, ask)
    recall = _recall(answers, exact)
    table.add("faiss IVF,PQ, 200 compared exactly", built, megabytes, *_latency(seconds), recall)


def _ours(
    vectors: FloatArray, queries: FloatArray, exact: list[set[int]], table: common.Table
) -> None:
    common.say("vtnstream")
    folder = Path(tempfile.mkdtemp(prefix="vtnstream-library-"))
    try:
        about = LibraryAbout("benchmark", "0" * 64, vectors.shape[1], "{}")
        store = LibraryStore(str(folder / "lib"), about)
        began = time.perf_counter()
        numbers = np.arange(len(vectors) + 1, dtype=np.float64)
        parts = [slice(start, start + _BLOCK) for start in range(0, len(vectors), _BLOCK)]
        blocks = ((vectors[p], numbers[:-1][p], numbers[1:][p]) for p in parts)

        def row(batch: str) -> VideoRow:
            return VideoRow("v", batch, "{}", "v", len(vectors), 0.9, 0.6, "{}")

        store.write(row, blocks, "v")
        written = time.perf_counter() - began
        store.maintain()
        built = time.perf_counter() - began
        common.say(f"written in {written:.1f} s, with its index in {built:.1f} s")
        megabytes = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6
        store.nearest(queries[0], _TOP)

        def ask(query: FloatArray) -> np.ndarray:
            return np.asarray(store.nearest(query, _TOP).starts, np.int64)

        answers, seconds = _asked(queries, ask)
        what = "vtnstream" if store.is_indexed else "vtnstream, every vector"
        table.add(what, built, megabytes, *_latency(seconds), _recall(answers, exact))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
