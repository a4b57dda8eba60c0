"""Search in words and suggestions: checked here, carried out by a worker process.

Searches have a queue of their own beside the other jobs, so that a person does not wait for an
analysis; one worker keeps the model between searches and is ended when it is idle.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtnstream.batch.workers.executor import MakeExecutor
from vtnstream.batch.workers.outcome import FAILED, Task
from vtnstream.errors import VtnstreamError
from vtnstream.optional import install_command, installed
from vtnstream.studio.correcting.timeline import PERSON
from vtnstream.studio.finding.requests import SearchRequest, SearchStatus, SuggestRequest
from vtnstream.studio.finding.worker import (
    ANSWER_SUFFIX,
    make_reader,
    make_searcher,
    make_suggester,
)
from vtnstream.studio.jobs.queue import READ, SEARCH, SUGGEST, Job
from vtnstream.studio.jobs.runner import Handler, Work, summary_of
from vtnstream.studio.problems import InvalidProblem, NotFoundProblem, Problem
from vtnstream.wording import plural
from vtnstream.words.published import DEFAULT_WORDS, published_words

if TYPE_CHECKING:
    from vtnstream.studio.service import Studio

_KEPT_SEARCHES = 50
_EVERYTHING = [0.0, 1e12]
"""The labelled span of a video that a person has checked as a whole."""


class FindingFailedError(VtnstreamError):
    """A search or suggestion did not come to its end."""


class Finder:
    """Searches and suggestions of one studio.

    Args:
        studio: the workspace with its results.
        model: reads frames and words; None is the default image-text model.
        library: name of a library of ``vtnstream index`` to search in place of stored features.
    """

    def __init__(self, studio: Studio, model: str | None, library: str | None) -> None:
        self._studio = studio
        self._model = os.path.abspath(model) if model and os.path.isdir(model) else model
        self._library = library

    # ----------------------------------------------------------------------- submitting

    def status(self) -> SearchStatus:
        """Whether searches are possible; no model is loaded for it."""
        problem, model = self._problem(), self._model or DEFAULT_WORDS
        return SearchStatus(not problem, problem, os.path.basename(model), self._library or "")

    def _problem(self) -> str:
        model = self._model or DEFAULT_WORDS
        published = published_words().get(model)
        if published is not None and not published.is_here:
            return (
                f"The image-text model {model} is not on this machine: {published.fetch_hint} "
                f"({published.source.size}). Or start the studio with --search-model MODEL: the "
                "folder of another image-text model, or of a trained model for examples alone."
            )
        if published is not None and not installed("transformers"):
            return f"Words need the extra 'words': {install_command('words')}"
        if self._library is not None and not installed("lancedb"):
            return f"A library needs the extra 'library': {install_command('library')}"
        return ""

    def _need_search(self) -> None:
        if problem := self._problem():
            raise InvalidProblem(problem)

    def search(self, request: SearchRequest) -> Job:
        """Queue a search.

        Raises:
            InvalidProblem: a value cannot be used, or no search is possible here.
            NotFoundProblem: there is no such example.
        """
        request.check()
        self._need_search()
        body: dict[str, Any] = asdict(request)
        body["text"] = " ".join(request.text.split())
        if request.example is not None:
            loaded = self._studio.documents.load(request.example.id)
            if loaded.video is None:
                raise NotFoundProblem(loaded.no_video)
            if request.example.start >= loaded.base.limit:
                raise InvalidProblem(f"example: the video ends at {loaded.base.limit:.1f} s")
            body["example"]["name"] = loaded.video.name
        self._studio.queue.forget(SEARCH, _KEPT_SEARCHES)
        return self._studio.queue.submit(SEARCH, body)

    def read(self) -> Job:
        """Queue reading of all videos whose features are not stored yet, for searches.

        Raises:
            InvalidProblem: no search is possible here, a library is searched, or there is no video.
        """
        self._need_search()
        if self._library is not None:
            raise InvalidProblem(
                f"library {self._library} is searched: update it with vtnstream index"
            )
        if not self._videos():
            raise InvalidProblem("there is no video with a result in these folders")
        queue = self._studio.queue
        return queue.pending(READ, {}) or queue.submit(READ, {})

    def suggest(self, request: SuggestRequest) -> Job:
        """Queue suggestions of what to label next.

        Raises:
            InvalidProblem: a value cannot be used, or there is no model or video.
            NotFoundProblem: there is no such model.
        """
        request.check()
        ready = [model.name for model in self._studio.jobs.models() if model.ready]
        name = request.model or (ready[-1] if ready else "")
        if not name:
            raise InvalidProblem(
                "no model of your labels: correct some videos and train one, or name a model folder"
            )
        self._studio.jobs.model_folder(name)
        if not self._videos():
            raise InvalidProblem("there is no video with a result in these folders")
        body = {**asdict(request), "model": name}
        queue = self._studio.queue
        return queue.pending(SUGGEST, body) or queue.submit(SUGGEST, body)

    # -------------------------------------------------------------------------- running

    def quick_handlers(self) -> dict[str, Handler]:
        """Kinds of jobs for which a person waits -> what does it."""
        return {SEARCH: self._search}

    def handlers(self) -> dict[str, Handler]:
        """Kinds of longer jobs -> what does it."""
        return {READ: self._read, SUGGEST: self._suggest}

    def _search(self, work: Work) -> dict[str, Any]:
        request, videos = work.job.request, self._videos()
        span = request["example"]
        if span is not None:
            span = {**span, "path": str(self._studio.documents.load(span["id"]).video)}
        make = partial(make_searcher, self._model or DEFAULT_WORDS, self._library)
        answer = self._ask(work, make, {**request, "example": span, "videos": list(videos)})
        found = [one for one in self._rows(answer["found"], videos) if not _is_same(one, span)]
        count = plural(len(found), "segment") if found else "nothing found"
        note = f"{count} in {plural(answer['searched'], 'video')}"
        return {
            "note": note,
            "found": found,
            "searched": answer["searched"],
            "missing": len(answer["missing"]),
        }

    def _read(self, work: Work) -> dict[str, Any]:
        tasks = [Task(path, name) for path, (name, _) in self._videos().items()]
        return summary_of(work.run(partial(make_reader, self._model or DEFAULT_WORDS), tasks))

    def _suggest(self, work: Work) -> dict[str, Any]:
        request, videos = work.job.request, self._videos()
        labelled = self._labelled(videos)
        todo = [path for path in videos if labelled.get(path) != [_EVERYTHING]]
        folder = self._studio.jobs.model_folder(request["model"])
        answer = self._ask(
            work,
            partial(make_suggester, str(folder)),
            {**request, "videos": todo, "labelled": labelled},
        )
        found = self._rows(answer["found"], videos)
        note = f"{plural(len(found), 'span')} to label" if found else "nothing is left to label"
        failed = answer["failed"]
        note += f"; {plural(len(failed), 'video')} could not be read" if failed else ""
        return {"note": note, "found": found, "model": request["model"], "failed": failed[:100]}

    def _labelled(self, videos: Mapping[str, tuple[str, str]]) -> dict[str, list[list[float]]]:
        """The spans of each video that a person has labelled; all of one that was checked."""
        found: dict[str, list[list[float]]] = {}
        corrected = set(self._studio.journal.corrected())
        for path, (name, _) in videos.items():
            if name not in corrected:
                continue
            try:
                timeline = self._studio.documents.state(self._studio.documents.load(name)).timeline
            except Problem:
                continue
            spans = [[s.start, s.end] for s in timeline.segments.values() if s.by == PERSON]
            found[path] = [_EVERYTHING] if timeline.checked else spans
        return found

    def _ask(self, work: Work, make: MakeExecutor, request: Mapping[str, Any]) -> dict[str, Any]:
        """Let a worker answer a request.

        Raises:
            FindingFailedError: it crashed, or refused.
        """
        folder = self._studio.workspace.state / "requests" / str(work.job.id)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "request.json"
        try:
            path.write_text(json.dumps(request), "utf-8")
            (outcome,) = work.run(make, [Task(str(path), "request")])
            if outcome.status == FAILED:
                error = outcome.error or "the worker ended unexpectedly"
                raise FindingFailedError(error.removeprefix(f"{path}: "))
            answer: dict[str, Any] = json.loads(Path(f"{path}{ANSWER_SUFFIX}").read_text("utf-8"))
            return answer
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _videos(self) -> dict[str, tuple[str, str]]:
        """Path -> id of the result and name, of the videos with a result; each video once."""
        workspace = self._studio.workspace
        found: dict[str, tuple[str, str]] = {}
        for row in self._studio.index.analysed():
            beside = (workspace.home / row["path"]).parent
            video = workspace.video_of(row["input"], beside)
            if video is not None:
                found.setdefault(str(video), (row["id"], row["name"]))
        return found

    def _rows(
        self, found: Sequence[Mapping[str, Any]], videos: Mapping[str, tuple[str, str]]
    ) -> list[dict[str, Any]]:
        """What was found, with the ids of results in place of paths; a library may hold videos
        that this studio does not show."""
        rows = []
        for one in found:
            place = videos.get(one["path"]) or videos.get(os.path.realpath(one["path"]))
            if place is not None:
                rest = {key: value for key, value in one.items() if key != "path"}
                rows.append({"id": place[0], "name": place[1], **rest})
        return rows


def _is_same(one: Mapping[str, Any], span: Mapping[str, Any] | None) -> bool:
    """Whether most of a found segment is the example itself."""
    if span is None or one["id"] != span["id"]:
        return False
    inside = min(one["end"], span["end"]) - max(one["start"], span["start"])
    return bool(inside >= (one["end"] - one["start"]) / 2)
