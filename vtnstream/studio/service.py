"""Everything the studio can do, without HTTP: the routes call it, and so may other programs."""

from __future__ import annotations

import contextlib
import getpass
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from vtnstream.config.runtime import default_cache_dir
from vtnstream.studio.correcting.exporting import Annotated, Export, annotations_csv, exported
from vtnstream.studio.correcting.journal import Entry, Journal
from vtnstream.studio.correcting.timeline import Action
from vtnstream.studio.database import Database
from vtnstream.studio.finding.finder import Finder
from vtnstream.studio.folders import Workspace
from vtnstream.studio.jobs.queue import JobQueue
from vtnstream.studio.jobs.runner import JobRunner
from vtnstream.studio.jobs.submission import Jobs
from vtnstream.studio.problems import NotFoundProblem, Problem
from vtnstream.studio.results.documents import Corrected, Document, Documents, Loaded
from vtnstream.studio.results.index import Index
from vtnstream.studio.results.pictures import Pictures
from vtnstream.studio.results.playing import DIRECT, way_to_play

_MAX_AUTHOR = 100


class Studio:
    """One workspace, opened.

    Args:
        workspace: the folders.
        cache: folder for images; None is the user's cache.
        author: name of the person who corrects; None is the name of the login.
        search_model, library: see :class:`vtnstream.studio.finding.finder.Finder`.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        cache: Path | None = None,
        author: str | None = None,
        search_model: str | None = None,
        library: str | None = None,
    ) -> None:
        self.workspace = workspace
        self.database = Database(workspace.state)
        self.index = Index(workspace, self.database)
        self.journal = Journal(self.database)
        self.documents = Documents(workspace, self.index, self.journal)
        self.pictures = Pictures((cache or default_cache_dir()) / "studio" / "pictures")
        self.author = (author or _login())[:_MAX_AUTHOR]
        self.queue = JobQueue(self.database)
        self.jobs = Jobs(self)
        self.finder = Finder(self, search_model, library)
        handlers = {**self.jobs.handlers(), **self.finder.handlers()}
        self._runners = (
            JobRunner(self.queue, handlers),
            JobRunner(self.queue, self.finder.quick_handlers()),
        )
        self._lock = FileLock(workspace.state / "jobs.lock")

    def start(self) -> None:
        """Begin to search the folders and to run jobs. If another studio of the same folder runs
        jobs already, it will run those of this one as well."""
        self.index.refresh()
        with contextlib.suppress(Timeout):
            self._lock.acquire(timeout=0)
            for runner in self._runners:
                runner.start()

    def close(self) -> None:
        """Stop jobs and searching, and close the database. A running job is queued again."""
        for runner in self._runners:
            runner.stop()
        self._lock.release()
        self.index.stop()
        self.database.close()

    # ------------------------------------------------------------------------ one result

    def document(self, name: str) -> Document:
        """A result for its page."""
        return self.documents.document(name)

    def change(self, name: str, revision: int, action: Action, author: str | None) -> Corrected:
        """Carry out a correction; errors as of :meth:`Journal.change`."""
        loaded = self.documents.load(name)
        who = (author or self.author)[:_MAX_AUTHOR]
        state = self.journal.change(loaded.base, revision, action, who)
        return self.documents.corrected(loaded, state)

    def history(self, name: str) -> list[Entry]:
        """All corrections of a result."""
        self.index.find(name)
        return self.journal.history(name)

    def export(self, name: str, format: str) -> Export:
        """A corrected result in one format."""
        loaded = self.documents.load(name)
        report = self.documents.corrected_report(loaded)
        base = loaded.path.name.removesuffix(".json")
        return exported(report, format, base=base, folder=loaded.path.parent, video=loaded.video)

    def video(self, name: str) -> Path:
        """The file that a browser can play.

        Raises:
            NotFoundProblem: there is none.
        """
        loaded = self.documents.load(name)
        if loaded.video is None:
            raise NotFoundProblem(loaded.no_video)
        if way_to_play(loaded.report.video, loaded.video) == DIRECT:
            return loaded.video
        preview = self.workspace.allowed(self.preview_path(name))
        if preview is None:
            raise NotFoundProblem(f"{loaded.video}: a browser cannot play it: make a preview")
        return preview

    def poster(self, name: str) -> bytes:
        """Return a JPEG of the video; errors as :meth:`Pictures.poster`."""
        loaded = self.documents.load(name)
        return self.pictures.poster(loaded, self._picture_source(loaded))

    def picture(self, name: str, number: int) -> bytes:
        """Return a JPEG of a part of the timeline; errors as :meth:`Pictures.part`."""
        loaded = self.documents.load(name)
        return self.pictures.part(loaded, self._picture_source(loaded), number)

    def frame(self, name: str, start: float, end: float) -> bytes:
        """A JPEG of a span; errors as :meth:`Pictures.span`."""
        loaded = self.documents.load(name)
        return self.pictures.span(loaded, self._picture_source(loaded), start, end)

    def _picture_source(self, loaded: Loaded) -> Path:
        """Return the preview if there is one, because seeking in it works."""
        if loaded.video is None:
            raise NotFoundProblem(loaded.no_video)
        preview = self.preview_path(loaded.id)
        return preview if preview.is_file() else loaded.video

    def preview_path(self, name: str) -> Path:
        """Return the path of the playable copy of a video, which may not exist yet."""
        loaded = self.documents.load(name)
        assert loaded.video is not None
        status = loaded.video.stat()
        return self.workspace.state / "previews" / f"{name}-{status.st_size:x}.mp4"

    def way_to_play(self, name: str) -> str:
        """``direct``, ``preview`` (a copy is ready), ``remux``, ``encode``, or ``none``."""
        loaded = self.documents.load(name)
        if loaded.video is None:
            return "none"
        way = way_to_play(loaded.report.video, loaded.video)
        if way != DIRECT and self.preview_path(name).is_file():
            return "preview"
        return way

    # ----------------------------------------------------------------------- all results

    def annotated(self) -> Iterator[Annotated]:
        """The videos that a person corrected or checked, and whose file is at hand."""
        for name in self.journal.corrected():
            try:
                loaded = self.documents.load(name)
            except Problem:
                continue
            state = self.documents.state(loaded)
            if loaded.video is not None and state.timeline.segments:
                timeline = state.timeline
                yield Annotated(name, loaded.video, timeline.ordered(), timeline.checked)

    def annotations(self) -> str:
        """All corrected videos as annotations that ``vtnstream train`` reads."""
        return annotations_csv(self.annotated())


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return os.environ.get("USER", "") or "person"
