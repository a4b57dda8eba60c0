"""A library of many vectors beside faiss and a plain numpy scan: build time, size, latency, recall.

Vectors are made from real features: rows of feature files (``vtnstream extract``), reduced by
principal components to ``--size`` numbers, repeated with noise and scaled to length 1. They are
written to a file in ``--folder`` and read from it block by block, so that no way needs all of
them at once. Queries are further such rows. ``recall@10`` is the share of the ten vectors of the
exact scan that are found. Each way runs in a process of its own, whose greatest resident memory
is given, for building and for asking; of the numpy scan and of faiss, it includes the pages of
the file that they map. faiss is asked with growing numbers of vectors that are compared exactly,
until its recall is that of the library.

    python -m benchmarks library --features video.safetensors --vectors 1000000 --size 64
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from benchmarks import common
from benchmarks.child import peak_since
from vtnstream.library.rows import LibraryAbout, VideoRow
from vtnstream.library.searching import CANDIDATES
from vtnstream.library.store import COMPARED_ROWS, NUM_PROBES, ROWS_A_PARTITION, LibraryStore
from vtnstream.types import FloatArray
from vtnstream.words.vectors import unit

_BLOCK = 50_000
_TOP = 10
_VECTORS = "vectors.f32"
_QUERIES = "queries.npy"
_EXACT = "exact.npy"
_ROWS = "rows.json"
_REACHED = "recall.txt"
_TIMED_SCANS = 20
_COMPARED = (400, 2_000, 8_000, 32_000, 128_000)
"""How many of its best candidates faiss compares exactly, one after another until its recall is
that of the library."""

_NUMBERS_A_CODE = 8
_TRAINED_ROWS = 256
_FEWEST_TRAINED = 65_536
"""Numbers of a vector that share a product-quantised code of faiss, rows for each list on which it
is trained (its own recommendation reaches from 39 to 256), and rows at least: the 256 codes of a
part of a vector are trained on them too."""


@dataclass(frozen=True)
class Task:
    """What every way is given.

    Attributes:
        folder: holds the vectors, the queries and the exact answers.
        count: number of vectors.
        size: numbers of a vector.
    """

    folder: Path
    count: int
    size: int

    @property
    def vectors(self) -> FloatArray:
        """(count, size) float32, mapped."""
        shape = (self.count, self.size)
        return np.memmap(self.folder / _VECTORS, np.float32, "r", shape=shape)

    @property
    def queries(self) -> FloatArray:
        """(Q, size) float32."""
        found: FloatArray = np.load(self.folder / _QUERIES)
        return found

    @property
    def exact(self) -> list[set[int]]:
        """The ten nearest of each query by the exact scan."""
        return [set(map(int, row)) for row in np.load(self.folder / _EXACT)]

    def blocks(self) -> Iterator[tuple[int, FloatArray]]:
        """First number and vectors of each block, read rather than mapped."""
        with (self.folder / _VECTORS).open("rb") as file:
            for start in range(0, self.count, _BLOCK):
                numbers = min(_BLOCK, self.count - start) * self.size
                yield start, np.fromfile(file, np.float32, numbers).reshape(-1, self.size)


@dataclass(frozen=True)
class Built:
    """What building cost: wall and processor time, greatest memory, size on disk."""

    seconds: float | None = None
    cpu_seconds: float | None = None
    peak_megabytes: float | None = None
    megabytes: float | None = None


@dataclass(frozen=True)
class Measured:
    """One row of the table."""

    way: str
    build: Built | None = None
    seconds: tuple[float, ...] = ()
    recall: float | None = None
    peak_megabytes: float | None = None

    def cells(self) -> tuple[common.Cell, ...]:
        half, most = (
            (float(np.quantile(self.seconds, q) * 1e3) if self.seconds else None)
            for q in (0.5, 0.99)
        )
        built = self.build or Built()
        return (
            self.way,
            built.seconds,
            built.cpu_seconds,
            built.peak_megabytes,
            built.megabytes,
            half,
            most,
            self.recall,
            self.peak_megabytes,
        )


def main(arguments: list[str]) -> None:
    """Build, ask, compare."""
    parser = common.parser("library", __doc__)
    parser.add_argument("--features", type=Path, nargs="+", help="made by vtnstream extract")
    parser.add_argument("--vectors", type=int, default=10_000_000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--noise", type=float, default=0.05, help="deviation of each number")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="where vectors and libraries are written")
    parser.add_argument("--way", choices=_WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.way is not None:
        _child(options)
        return
    if not options.features:
        parser.error("name feature files with --features")
    settings = {"vectors": f"{options.vectors:,}", "size": options.size, "noise": options.noise}
    result = common.Result(f"library_{options.vectors}", settings)
    table = result.table(
        f"Ten nearest of {options.vectors:,} vectors",
        "way", "build s", "CPU s", "peak MB", "size MB", "p50 ms", "p99 ms", "recall@10",
        "asking, peak MB",
    )  # fmt: skip
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="vtnstream-library-", dir=options.folder))
    try:
        task = Task(folder, options.vectors, options.size)
        rows = _written(task, options)
        result.notes.append(f"Made from {rows:,} real vectors; {options.queries} queries.")
        for way in _WAYS:
            common.say(way)
            for row in _alone(way, task):
                table.add(*row.cells())
            load = " ".join(f"{value:.1f}" for value in os.getloadavg())
            result.notes.append(f"Load of the machine after {way} (1, 5, 15 minutes): {load}.")
            result.keep(options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result.deliver(options)


def _alone(way: str, task: Task) -> list[Measured]:
    """Run a way in a process of its own.

    Raises:
        SystemExit: it failed.
    """
    numbers = ("--vectors", str(task.count), "--size", str(task.size))
    command = ["-m", "benchmarks", "library", "--way", way, "--folder", str(task.folder)]
    done = subprocess.run([sys.executable, *command, *numbers], check=False)
    if done.returncode:
        sys.exit(f"{way} failed")
    rows = json.loads((task.folder / _ROWS).read_text())
    return [
        Measured(
            row["way"],
            None if row["build"] is None else Built(**row["build"]),
            tuple(row["seconds"]),
            row["recall"],
            row["peak_megabytes"],
        )
        for row in rows
    ]


def _child(options: argparse.Namespace) -> None:
    rows = _WAYS[options.way](Task(options.folder, options.vectors, options.size))
    text = json.dumps([dataclasses.asdict(row) for row in rows])
    (options.folder / _ROWS).write_text(text)


def _written(task: Task, options: argparse.Namespace) -> int:
    """Write the vectors and queries.

    Returns:
        Number of real vectors that they are made from.
    """
    basis = _basis(options.features, options.size)
    np.save(task.folder / _QUERIES, _made(basis, options.queries, options.noise, seed=1))
    with (task.folder / _VECTORS).open("wb") as file:
        for start in range(0, task.count, _BLOCK):
            count = min(_BLOCK, task.count - start)
            file.write(_made(basis, count, options.noise, seed=start + 2).tobytes())
    return len(basis)


def _basis(paths: list[Path], size: int) -> FloatArray:
    """Real features on their first principal components, of length 1."""
    rows = unit(np.concatenate([load_file(path)["features"] for path in paths]))
    centred = rows - rows.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)  # by rising variance
    return unit(np.asarray(centred @ axes[:, : -size - 1 : -1], np.float32))


def _made(basis: FloatArray, count: int, noise: float, seed: int) -> FloatArray:
    random = np.random.default_rng(seed)
    rows = basis[random.integers(0, len(basis), count)]
    return unit(rows + noise * random.standard_normal(rows.shape, np.float32))


def _numpy(task: Task) -> list[Measured]:
    """Compare every vector, for all queries at once to know the answers, and one by one to time
    them."""
    queries = task.queries
    best = np.full((len(queries), _TOP), -np.inf, np.float32)
    places = np.zeros((len(queries), _TOP), np.int64)
    for start, block in task.blocks():
        cosines = queries @ block.T
        near = np.argpartition(-cosines, _TOP, axis=1)[:, :_TOP]
        best = np.concatenate([best, np.take_along_axis(cosines, near, axis=1)], axis=1)
        places = np.concatenate([places, near + start], axis=1)
        kept = np.argsort(-best, axis=1)[:, :_TOP]
        best = np.take_along_axis(best, kept, axis=1)
        places = np.take_along_axis(places, kept, axis=1)
    np.save(task.folder / _EXACT, places)

    vectors = task.vectors

    def ask(query: FloatArray) -> np.ndarray:
        starts = range(0, task.count, _BLOCK)
        parts = [vectors[start : start + _BLOCK] @ query for start in starts]
        return np.argpartition(-np.concatenate(parts), _TOP)[:_TOP]

    answers, seconds = _asked(queries[:_TIMED_SCANS], ask)
    recall = _recall(answers, task.exact)
    built = Built(0.0, 0.0, None, 4 * task.count * task.size / 1e6)
    return [Measured("numpy, every vector", built, seconds, recall, _peak())]


def _faiss(task: Task, codes: str, named: str) -> list[Measured]:
    """An index of faiss with the library's lists, and codes of ``codes`` in place of vectors."""
    try:
        import faiss
    except ImportError as error:
        return [Measured(f"faiss ({error})")]
    lists = max(1, task.count // ROWS_A_PARTITION)
    vectors = task.vectors
    build = _Building()
    index = faiss.index_factory(task.size, f"IVF{lists},{codes}", faiss.METRIC_INNER_PRODUCT)
    random = np.random.default_rng(0)
    trained = min(task.count, max(_TRAINED_ROWS * lists, _FEWEST_TRAINED))
    index.train(vectors[np.sort(random.choice(task.count, trained, replace=False))])
    for _, block in task.blocks():
        index.add(block)
    path = task.folder / "index.faiss"
    faiss.write_index(index, str(path))
    built = build.done(path.stat().st_size)
    path.unlink()
    faiss.extract_index_ivf(index).nprobe = NUM_PROBES
    wanted = float((task.folder / _REACHED).read_text())
    made: list[Measured] = []
    for compared in _COMPARED:

        def ask(query: FloatArray, compared: int = compared) -> np.ndarray:
            _, found = index.search(query[None], compared)
            near = found[0][found[0] >= 0]
            return np.asarray(near[np.argsort(-(vectors[near] @ query))[:_TOP]])

        answers, seconds = _asked(task.queries, ask)
        recall = _recall(answers, task.exact)
        way = f"faiss IVF, {named}, {compared:,} compared exactly"
        made.append(Measured(way, built, seconds, recall, _peak()))
        if recall >= wanted:
            break
    return made


def _product_codes(task: Task) -> list[Measured]:
    return _faiss(task, f"PQ{max(1, task.size // _NUMBERS_A_CODE)}", "PQ")


def _scalar_codes(task: Task) -> list[Measured]:
    return _faiss(task, "SQ8", "SQ8")


def _ours(task: Task) -> list[Measured]:
    """The library, asked for ten vectors, and for as many as a search takes."""
    folder = task.folder / "library"
    about = LibraryAbout("benchmark", "0" * 64, task.size, "{}")
    build = _Building()
    store = LibraryStore(str(folder), about)
    numbers = np.arange(task.count + 1, dtype=np.float64)

    def row(batch: str) -> VideoRow:
        return VideoRow("v", batch, "{}", "v", task.count, 0.9, 0.6, "{}")

    blocks = (
        (block, numbers[start : start + len(block)], numbers[start + 1 : start + 1 + len(block)])
        for start, block in task.blocks()
    )
    store.write(row, blocks, "v")
    common.say(f"written in {build.seconds:.1f} s")
    store.maintain()
    built = build.done(sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()))
    common.say(f"with its index in {built.seconds:.1f} s")
    store.nearest(task.queries[0], _TOP)
    made = []
    kind = f", {COMPARED_ROWS:,} compared exactly" if store.is_indexed else ", every vector"
    for limit in (_TOP, CANDIDATES):

        def ask(query: FloatArray, limit: int = limit) -> np.ndarray:
            return np.asarray(store.nearest(query, limit).starts[:_TOP], np.int64)

        answers, seconds = _asked(task.queries, ask)
        recall = _recall(answers, task.exact)
        way = f"vtnstream{kind}, asked for {limit}"
        made.append(Measured(way, built, seconds, recall, _peak()))
    (task.folder / _REACHED).write_text(str(made[0].recall))
    return made


class _Building:
    """Measures a build from its creation on."""

    def __init__(self) -> None:
        peak_since(reset=True)
        self._began, self._used = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def done(self, size: int) -> Built:
        """Return what was measured, for an index of ``size`` bytes; a new peak of memory starts."""
        used = time.process_time() - self._used
        return Built(self.seconds, used, peak_since(reset=True) / 1e6, size / 1e6)


def _asked(
    queries: FloatArray, ask: Callable[[FloatArray], np.ndarray]
) -> tuple[list[set[int]], tuple[float, ...]]:
    answers, seconds = [], []
    for query in queries:
        began = time.perf_counter()
        found = ask(query)
        seconds.append(time.perf_counter() - began)
        answers.append(set(map(int, found)))
    return answers, tuple(seconds)


def _recall(found: list[set[int]], exact: list[set[int]]) -> float:
    pairs = zip(found, exact, strict=False)  # the scan is timed on fewer queries
    return float(np.mean([len(a & b) / len(b) for a, b in pairs]))


def _peak() -> float:
    """Greatest resident memory of this process in MB since the last build."""
    return peak_since(reset=False) / 1e6


_WAYS: dict[str, Callable[[Task], list[Measured]]] = {
    "numpy": _numpy,
    "vtnstream": _ours,
    # last, to be compared at the recall of the library
    "faiss-sq8": _scalar_codes,
    "faiss-pq": _product_codes,
}
