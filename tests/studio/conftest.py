"""A folder with generated results and videos, and a studio that serves it."""

from __future__ import annotations

import dataclasses
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.patience import HANG
from tests.report.cases import many_segments, report
from tests.report.videos import make_case
from vtnstream.config.studio import StudioConfig
from vtnstream.report.writer import write_reports
from vtnstream.studio.folders import Workspace
from vtnstream.studio.service import Studio
from vtnstream.studio.web.server import StudioServer
from vtnstream.types import Report


def write_result(one: Report, folder: Path, base: str | None = None) -> Path:
    """The JSON file of a report."""
    (path,) = write_reports(one, folder, ["json"], base=base).files
    return path


@dataclass
class Served:
    """A running studio."""

    studio: Studio
    port: int

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        data: bytes | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer; ``path`` is sent as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HANG)
        sent = {"Content-Type": "application/json"} if body is not None or data else {}
        payload = data if body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, payload, {**sent, **(headers or {})})
            answer = connection.getresponse()
            found = {key.lower(): value for key, value in answer.getheaders()}
            return answer.status, found, answer.read()
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        status, _, body = self.ask("GET", path)
        assert status == 200, (path, status, body)
        return json.loads(body)

    def post(self, path: str, body: Any, status: int = 200) -> Any:
        found, _, text = self.ask("POST", path, body)
        assert found == status, (path, found, text)
        return json.loads(text)

    def ids(self, **query: str) -> dict[str, str]:
        """Name of a video -> id of its result."""
        rows = self.get("/api/results?" + "&".join(f"{k}={v}" for k, v in query.items()))["rows"]
        return {row["name"]: row["id"] for row in rows}


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Starts studios, and stops them at the end."""
    running: list[tuple[Studio, StudioServer, threading.Thread]] = []

    def start(*places: Path, token: str | None = None, **options: Any) -> Served:
        workspace = Workspace.of(
            places, videos=options.pop("videos", ()), state=options.pop("state", None)
        )
        model = options.pop("search_model", None)
        studio = Studio(workspace, cache=tmp_path / "pictures", author="tester", search_model=model)
        studio.index.scan()
        config = StudioConfig(port=0, **options)
        server = StudioServer(studio, config, token=token)
        thread = threading.Thread(target=server.run)
        thread.start()
        running.append((studio, server, thread))
        port = int(server.address.rpartition(":")[2].partition("/")[0])
        return Served(studio, port)

    yield start
    for studio, server, thread in running:
        server.stop()
        thread.join()
        studio.close()


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results beside their videos: one that browsers play, one in Matroska, one that is gone."""
    folder = tmp_path_factory.mktemp("studio")
    for name, suffix in (("25", ".mp4"), ("29.97", ".mkv")):
        case = make_case(folder, name, suffix)
        scored = report(start_seconds=0.0, end_seconds=case.report.end_seconds).scores
        scores = tuple(dataclasses.replace(s, end=case.report.end_seconds) for s in scored)
        write_result(dataclasses.replace(case.report, scores=scores), folder)
    segments = many_segments(2000)
    long = report(input="gone/long.mkv", segments=segments, end_seconds=segments[-1].end)
    write_result(long, folder)
    return folder


@pytest.fixture
def folder(shared_folder: Path, tmp_path: Path) -> Path:
    """A copy of its own that may be changed; videos stay where they are."""
    copy = tmp_path / "results"
    copy.mkdir()
    for path in shared_folder.iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    return copy


@pytest.fixture
def command(folder: Path) -> Iterator[Callable[[], tuple[subprocess.Popen[str], Served]]]:
    """Starts the command, and kills it at the end."""
    running: list[subprocess.Popen[str]] = []

    def start() -> tuple[subprocess.Popen[str], Served]:
        with socket.socket() as probe_:
            probe_.bind(("127.0.0.1", 0))
            port = probe_.getsockname()[1]
        words = ["-m", "vtnstream", "studio", str(folder), "--port", str(port), "--no-browser"]
        process = subprocess.Popen(
            [sys.executable, *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        assert process.stderr is not None
        assert f"http://127.0.0.1:{port}/" in process.stderr.readline()
        served = Served(None, port)  # type: ignore[arg-type]
        end = time.monotonic() + HANG
        while not served.get("/api/results")["rows"]:
            assert time.monotonic() < end
            time.sleep(0.1)
        return process, served

    yield start
    for process in running:
        process.kill()
        process.communicate()
