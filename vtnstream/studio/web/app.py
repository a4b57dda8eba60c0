"""The routes of the studio. This is the only file that imports FastAPI.

FastAPI checks the bodies of requests against the dataclasses of the studio and describes all routes
as an OpenAPI document, at ``/api/openapi.json``.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import anyio
import anyio.to_thread
from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from fastapi.staticfiles import StaticFiles

import vtnstream
from vtnstream.config.studio import StudioConfig
from vtnstream.errors import VtnstreamError
from vtnstream.studio.correcting.exporting import available
from vtnstream.studio.correcting.journal import Entry
from vtnstream.studio.finding.requests import SearchRequest, SearchStatus, SuggestRequest
from vtnstream.studio.jobs.queue import ENDED, SUGGEST, Job
from vtnstream.studio.jobs.submission import AnalyseRequest, TrainedModel
from vtnstream.studio.jobs.teaching import TrainingPlan, TrainRequest, training_plan
from vtnstream.studio.problems import Problem
from vtnstream.studio.results.documents import Corrected, Document
from vtnstream.studio.results.index import Page
from vtnstream.studio.results.index import Query as LibraryQuery
from vtnstream.studio.results.playing import media_type
from vtnstream.studio.service import Studio
from vtnstream.studio.web.bodies import About, Change, Label, Playing
from vtnstream.studio.web.pages import LIBRARY, SHARED, STATIC, TEACH, VIDEO, page, shared

_PICTURES_AT_ONCE = 2
_EVENT_SECONDS = 0.3
_KEEP_ALIVE_SECONDS = 15.0
_T = TypeVar("_T")


def create_app(studio: Studio, config: StudioConfig) -> FastAPI:
    """The application, without the checks of :class:`~vtnstream.studio.web.guard.Guard`."""
    app = FastAPI(
        title="vtnstream studio",
        version=vtnstream.__version__,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(_library_routes(studio, config), tags=["library"])
    app.include_router(_result_routes(studio), tags=["results"])
    app.include_router(_media_routes(studio), tags=["media"])
    app.include_router(_job_routes(studio), tags=["jobs"])
    app.include_router(_finder_routes(studio), tags=["search"])
    app.include_router(_page_routes(), include_in_schema=False)
    app.mount("/assets", StaticFiles(directory=STATIC), name="assets")
    _handle_errors(app)
    return app


def _library_routes(studio: Studio, config: StudioConfig) -> APIRouter:
    routes = APIRouter(prefix="/api")

    @routes.get("/about")
    def about() -> About:
        """Version, formats and folders of this server."""
        folders = tuple(map(str, studio.workspace.roots))
        return About(vtnstream.__version__, available(), studio.author, folders)

    @routes.get("/health")
    def health() -> dict[str, str]:
        """Whether the server answers and its database can be read."""
        studio.database.row("SELECT 1")
        return {"status": "ok"}

    @routes.get("/results")
    def results(
        text: Annotated[str, Query(max_length=200)] = "",
        label: Annotated[str, Query(max_length=300)] = "",
        state: Annotated[str, Query(max_length=20)] = "",
        sort: Annotated[str, Query(max_length=20)] = "name",
        start: Annotated[int, Query(ge=0, le=10**9)] = 0,
        size: Annotated[int, Query(ge=1, le=500)] = config.page_size,
    ) -> Page:
        """A page of the library."""
        return studio.index.page(LibraryQuery(text, label, state, sort, start, size))

    @routes.get("/labels")
    def labels() -> list[Label]:
        """Labels of all results, the most frequent first."""
        return [Label(label, count) for label, count in studio.index.labels()]

    @routes.post("/scan", status_code=202)
    def scan() -> dict[str, str]:
        """Search the folders again for results and videos."""
        studio.index.refresh()
        return {"status": "scanning"}

    @routes.get("/annotations.csv", response_class=PlainTextResponse)
    def annotations() -> Response:
        """All corrected videos as annotations that `vtnstream train` reads."""
        return _download("annotations.csv", studio.annotations().encode(), "text/csv")

    return routes


def _result_routes(studio: Studio) -> APIRouter:
    routes = APIRouter(prefix="/api/results/{name}")

    @routes.get("")
    def result(name: str) -> Document:
        """A result with its corrections."""
        return studio.document(name)

    @routes.get("/segments")
    def segments(name: str) -> Corrected:
        """The segments as they are now."""
        return studio.documents.corrected(studio.documents.load(name))

    @routes.post("/changes", responses={409: {"description": "Another revision is current."}})
    def change(name: str, change: Change) -> Corrected:
        """Carry out a correction. It is on the disk when the answer comes."""
        return studio.change(name, change.revision, change.action(), change.author)

    @routes.get("/history")
    def history(name: str) -> list[Entry]:
        """All corrections, the oldest first, with who made them and when."""
        return studio.history(name)

    @routes.get("/export/{format}", response_class=Response)
    def export(name: str, format: str) -> Response:
        """The corrected result in a format of `vtnstream export`."""
        found = studio.export(name, format)
        return _download(found.name, found.data, "application/octet-stream")

    return routes


def _media_routes(studio: Studio) -> APIRouter:
    routes = APIRouter(prefix="/api/results/{name}")
    limiter = anyio.CapacityLimiter(_PICTURES_AT_ONCE)

    async def slowly(work: Callable[[], _T]) -> _T:
        """Decoding does not take the threads that answer other requests."""
        return await anyio.to_thread.run_sync(work, limiter=limiter)

    @routes.get("/playing")
    def playing(name: str) -> Playing:
        """How the video can be played."""
        way = studio.way_to_play(name)
        ready = way in ("direct", "preview")
        return Playing(way, f"/api/results/{name}/video" if ready else "")

    @routes.get("/video", response_class=FileResponse)
    def video(name: str) -> Response:
        """The video, also in byte ranges."""
        path = studio.video(name)
        return FileResponse(path, media_type=media_type(path))

    @routes.get("/poster", response_class=Response)
    async def poster(name: str) -> Response:
        """A frame of the video as a JPEG."""
        return _jpeg(await slowly(lambda: studio.poster(name)))

    @routes.get("/pictures/{number}", response_class=Response)
    async def picture(name: str, number: int) -> Response:
        """A frame of one of 120 equal parts of the timeline as a JPEG."""
        return _jpeg(await slowly(lambda: studio.picture(name, number)))

    @routes.get("/frame", response_class=Response)
    async def frame(name: str, start: float, end: float) -> Response:
        """A frame of a span of seconds as a JPEG."""
        return _jpeg(await slowly(lambda: studio.frame(name, start, end)))

    return routes


def _job_routes(studio: Studio) -> APIRouter:
    routes = APIRouter(prefix="/api")

    @routes.post("/jobs", status_code=202)
    def analyse(request: AnalyseRequest) -> Job:
        """Analyse videos or folders with a model."""
        return studio.jobs.analyse(request)

    @routes.post("/results/{name}/preview", status_code=202)
    def preview(name: str) -> Job:
        """Make a copy of a video that browsers play."""
        return studio.jobs.preview(name)

    @routes.get("/training")
    def plan() -> TrainingPlan:
        """What a training would learn from, and which videos it would hold out."""
        return training_plan(list(studio.annotated()))

    @routes.post("/training", status_code=202)
    def train(request: TrainRequest) -> Job:
        """Train a model on all corrections, and compare it on held-out videos."""
        return studio.jobs.train(request)

    @routes.get("/jobs")
    def jobs() -> list[Job]:
        """The latest jobs, the newest first."""
        return studio.queue.recent()

    @routes.get("/jobs/{number}")
    def job(number: int) -> Job:
        """A job."""
        return studio.queue.find(number)

    @routes.delete("/jobs/{number}")
    def cancel(number: int) -> Job:
        """Cancel a job that waits or runs."""
        return studio.queue.cancel(number)

    @routes.get("/jobs/{number}/events", response_class=StreamingResponse)
    async def events(number: int) -> Response:
        """Progress as server-sent events, each a job, until it has ended."""
        studio.queue.find(number)
        return StreamingResponse(_events(studio, number), media_type="text/event-stream")

    @routes.get("/models")
    def models() -> list[TrainedModel]:
        """Models that were trained on corrections, with their metrics and the comparison."""
        return studio.jobs.models()

    return routes


def _finder_routes(studio: Studio) -> APIRouter:
    routes = APIRouter(prefix="/api")

    @routes.get("/search")
    def status() -> SearchStatus:
        """Whether the videos can be searched in words or by examples, or what is missing."""
        return studio.finder.status()

    @routes.post("/search", status_code=202)
    def search(request: SearchRequest) -> Job:
        """Search all videos in words, by an example, or both. The outcome of the job holds the
        segments, best first, and how many videos have no stored features (`missing`)."""
        return studio.finder.search(request)

    @routes.post("/search/features", status_code=202)
    def read() -> Job:
        """Read all videos once, so that searches find them."""
        return studio.finder.read()

    @routes.post("/suggestions", status_code=202)
    def suggest(request: SuggestRequest) -> Job:
        """Find the spans whose label should teach a model most. The outcome of the job holds
        them, the most informative first."""
        return studio.finder.suggest(request)

    @routes.get("/suggestions")
    def suggestions() -> Job | None:
        """The latest job with suggestions, or null."""
        return studio.queue.latest(SUGGEST)

    return routes


async def _events(studio: Studio, number: int) -> AsyncIterator[str]:
    last, quiet = "", 0.0
    while True:
        job = await anyio.to_thread.run_sync(studio.queue.find, number)
        text = json.dumps(asdict(job))
        if text != last:
            last, quiet = text, 0.0
            yield f"event: job\ndata: {text}\n\n"
        if job.state in ENDED:
            return
        quiet += _EVENT_SECONDS
        if quiet >= _KEEP_ALIVE_SECONDS:
            quiet = 0.0
            yield ": still there\n\n"
        await anyio.sleep(_EVENT_SECONDS)


def _page_routes() -> APIRouter:
    routes = APIRouter()

    def add(path: str, send: Callable[[], Response]) -> None:
        routes.add_api_route(path, send, methods=["GET"])

    for path, one in (("/", LIBRARY), ("/video/{name}", VIDEO), ("/teach", TEACH)):
        add(path, _sender(HTMLResponse, page(one)))
    for name, kind in SHARED.items():
        add(f"/shared/{name}", _sender(FileResponse, shared(name), media_type=kind))

    @routes.get("/favicon.ico")
    def icon() -> Response:
        return FileResponse(STATIC / "icon.svg")

    return routes


def _sender(make: Callable[..., Response], *values: Any, **named: Any) -> Callable[[], Response]:
    """A route without parameters that makes one response."""

    def send() -> Response:
        return make(*values, **named)

    return send


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    def problem(request: Request, error: Problem) -> Response:
        return _error(error.status, str(error))

    @app.exception_handler(VtnstreamError)
    def failed(request: Request, error: VtnstreamError) -> Response:
        return _error(500, str(error))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return _error(422, f"{where or 'request'}: {first['msg']}"[:300])


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status)


def _jpeg(data: bytes) -> Response:
    return Response(
        data, media_type="image/jpeg", headers={"cache-control": "private, max-age=86400"}
    )


def _download(name: str, data: bytes, kind: str) -> Response:
    header: dict[str, Any] = {
        "content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    }
    return Response(data, media_type=kind, headers=header)
