"""What worker processes do for the finder: they import torch, the server does not.

A task is a file with a request in JSON, over all videos; the answer is written beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtnstream.batch.workers.executor import Executor, ExecutorInfo, Result
from vtnstream.batch.workers.outcome import Task
from vtnstream.config import RuntimeConfig
from vtnstream.config.search import SearchConfig
from vtnstream.errors import UsageError, VtnstreamError, concerns_all
from vtnstream.progress import Progress

if TYPE_CHECKING:
    from vtnstream.search.searcher import Searcher
    from vtnstream.search.space import SearchSpace
    from vtnstream.words.queries import Label

ANSWER_SUFFIX = ".answer"
NAME_OF_EXAMPLE = "like the example"


def make_searcher(model: str, library: str | None) -> Executor:
    """Build the executor of searches in a worker.

    Args:
        model: an image-text model, or a trained model, which understands examples alone.
        library: name of a library of ``vtnstream index``; None reads stored features.
    """
    return SearchExecutor(model, library)


def make_reader(model: str) -> Executor:
    """Build the executor that stores the features of a video for later searches."""
    return ReadExecutor(model)


def make_suggester(model: str) -> Executor:
    """Build the executor of suggestions of a trained model."""
    return SuggestExecutor(model)


class SearchExecutor:
    """Searches all videos of a request whose features are stored, or a library. It decodes nothing
    but an example that is not stored."""

    def __init__(self, model: str, library: str | None) -> None:
        from vtnstream.search.space import model_space

        self._library, self._runtime = library, RuntimeConfig()
        self._space: SearchSpace = model_space(model, self._runtime)
        self.facts = ExecutorInfo("search", f"search with {self._space.about['name']}")

    def run(self, task: Task, progress: Progress) -> Result:
        request = json.loads(Path(task.path).read_text("utf-8"))
        label = _label(request)
        answer = (
            self._stored(label, request, progress)
            if self._library is None
            else self._in_library(label, request["limit"], progress)
        )
        return Result([_write(task, answer)])

    def _stored(
        self, label: Label, request: Mapping[str, Any], progress: Progress
    ) -> dict[str, Any]:
        from vtnstream.encoding.extract import is_stored
        from vtnstream.search.searcher import Searcher

        searcher = Searcher(self._space, [label], runtime=self._runtime)
        limit = request["limit"]
        config = SearchConfig(max_segments=min(request["per_video"], limit))
        found: list[dict[str, Any]] = []
        searched, missing = 0, list[str]()
        for path in _each(request["videos"], progress):
            try:
                if not is_stored(path, self._space.encoder, self._space.sampling, self._runtime):
                    missing.append(path)
                    continue
                found += self._segments(searcher, path, config)
                searched += 1
            except VtnstreamError as error:
                if concerns_all(error, path):
                    raise
                missing.append(path)
            if len(found) > 4 * limit:
                found = _best(found, limit)
        return {"found": _best(found, limit), "searched": searched, "missing": missing}

    def _segments(
        self, searcher: Searcher, path: str, config: SearchConfig
    ) -> Iterator[dict[str, Any]]:
        for segment in searcher.search(path, config).segments or ():
            yield _found(path, segment.start, segment.end, segment.score)

    def _in_library(self, label: Label, limit: int, progress: Progress) -> dict[str, Any]:
        from vtnstream.library.searching import search_library
        from vtnstream.library.store import LibraryStore
        from vtnstream.search.vectors import make_vectors

        assert self._library is not None
        store = LibraryStore(self._library)
        if store.about.weights_sha256 != self._space.about["weights_sha256"]:
            other = store.about.model or "a backbone"
            raise UsageError(
                f"library {store.name}: holds vectors of another model ({other}): start the studio "
                "with --search-model of that one"
            )
        vectors = make_vectors(self._space, [label], self._runtime, progress)
        reports = search_library(store, vectors, SearchConfig(max_segments=limit))
        found = [
            _found(report.input, segment.start, segment.end, segment.score)
            for report in reports
            for segment in report.segments or ()
        ]
        return {"found": _best(found, limit), "searched": len(store.videos()), "missing": []}


class ReadExecutor:
    """Stores the features of videos, which searches read."""

    def __init__(self, model: str) -> None:
        from vtnstream.search.space import model_space

        self._runtime = RuntimeConfig()
        self._space: SearchSpace = model_space(model, self._runtime)
        about = f"features of {self._space.about['name']}"
        self.facts = ExecutorInfo("read", about, self._space.encoder.device.type)

    def run(self, task: Task, progress: Progress) -> Result:
        from vtnstream.search.reading import read_video

        with read_video(task.path, self._space, self._runtime, progress=progress) as source:
            return Result([], source.partial)


class SuggestExecutor:
    """Chooses the spans of all videos of a request whose label should teach a model most."""

    def __init__(self, model: str) -> None:
        from vtnstream.analyzer import Analyzer

        self._analyzer = Analyzer(model, runtime=RuntimeConfig())
        self.facts = ExecutorInfo("suggest", f"suggestions of {model}")

    def run(self, task: Task, progress: Progress) -> Result:
        from vtnstream.inference.request import Request
        from vtnstream.localization.informative import CandidatePool, choose_spans

        request = json.loads(Path(task.path).read_text("utf-8"))
        pool = CandidatePool()
        failed: list[str] = []
        for path in _each(request["videos"], progress):
            known = [(start, end) for start, end in request["labelled"].get(path, [])]
            try:
                spans = self._analyzer.spans_to_label(path, Request(), request["length"])
            except VtnstreamError as error:
                if concerns_all(error, path):
                    raise
                failed.append(str(error))
                continue
            pool.add(one for one in spans if not _is_labelled(one.start, one.end, known))
        chosen = choose_spans(pool.kept, request["limit"])
        found = [{**asdict(one), "path": str(one.path)} for one in chosen]
        return Result([_write(task, {"found": found, "failed": failed})])


def _is_labelled(start: float, end: float, spans: list[tuple[float, float]]) -> bool:
    """Return whether a person has labelled at least half of a span."""
    inside = sum(max(min(end, b) - max(start, a), 0.0) for a, b in spans)
    return inside >= (end - start) / 2


def _label(request: Mapping[str, Any]) -> Label:
    """The query of a request. Text is never read as a file name."""
    from vtnstream.words.queries import Example, Label

    text, example = request["text"], request["example"]
    examples: tuple[Example, ...] = ()
    if example is not None:
        examples = (Example(example["path"], f"{example['start']:.3f}", f"{example['end']:.3f}"),)
    return Label(text or NAME_OF_EXAMPLE, (text,) if text else (), examples)


def _each(paths: list[str], progress: Progress) -> Iterator[str]:
    progress.start("videos", total=len(paths), unit="videos")
    for number, path in enumerate(paths):
        yield path
        progress.advance(number + 1)
    progress.finish()


def _found(path: str, start: float, end: float, score: float) -> dict[str, Any]:
    return {"path": path, "start": start, "end": end, "score": score}


def _best(found: list[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    return sorted(found, key=itemgetter("score"), reverse=True)[:limit]


def _write(task: Task, answer: Mapping[str, Any]) -> Path:
    path = Path(task.path + ANSWER_SUFFIX)
    path.write_text(json.dumps(answer), "utf-8")
    return path
