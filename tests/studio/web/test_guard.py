"""Requests that must not come through: other sites, other hosts, no token, too much data."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.patience import HANG
from tests.studio.conftest import Served

Serve = Callable[..., Served]


@pytest.fixture
def served(serve: Serve, folder: Path) -> Served:
    return serve(folder)


HOSTS = (
    "evil.example",
    "evil.example:{port}",
    "127.0.0.1.evil.example:{port}",
    "127.0.0.1:1",
    "user@127.0.0.1:{port}",
    "",
    "[::1",
)
SITES = (
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
)


def test_other_hosts_are_refused(served: Served) -> None:
    for host in HOSTS:
        header = host.replace("{port}", str(served.port))
        status, _, body = served.ask("GET", "/api/results", headers={"Host": header})
        assert status in (400, 421) and b"rows" not in body


def test_own_names_are_answered(served: Served) -> None:
    for host in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        header = {"Host": f"{host}:{served.port}"}
        assert served.ask("GET", "/api/health", headers=header)[0] == 200


def test_other_sites_are_refused(served: Served) -> None:
    (name, *_) = served.ids().values()
    body = {"revision": 0, "kind": "check", "checked": True}
    for headers in SITES:
        for method, path in (("POST", f"/api/results/{name}/changes"), ("GET", "/api/results")):
            status, _, _ = served.ask(method, path, body if method == "POST" else None, headers)
            assert status == 403, headers
    assert served.get(f"/api/results/{name}/history") == []


def test_a_link_from_another_site_may_be_followed(served: Served) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert served.ask("GET", "/", headers=headers)[0] == 200


def test_forms_of_other_sites_are_refused(served: Served) -> None:
    headers = {"Content-Type": "text/plain"}
    assert served.ask("POST", "/api/scan", headers=headers, data=b"{}")[0] == 415


def test_too_large_bodies(serve: Serve, folder: Path) -> None:
    served = serve(folder, max_body_bytes=2000)
    (name, *_) = served.ids().values()
    path = f"/api/results/{name}/changes"
    assert served.ask("POST", path, data=b"x" * 2001)[0] == 413
    with socket.create_connection(("127.0.0.1", served.port), timeout=HANG) as raw:
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n"
        head += "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        raw.sendall(head.encode() + b"800\r\n" + b"x" * 0x800 + b"\r\n")
        assert b" 413 " in raw.recv(100)
    for number in ("-1", "99999999999999999999", "0x10"):
        # No body is sent: the server closes, and the system discards an answer before unread data.
        sent = {"Content-Type": "application/json", "Content-Length": number}
        assert served.ask("POST", path, headers=sent)[0] in (400, 413)


def test_a_token(serve: Serve, folder: Path) -> None:
    served = serve(folder, token="s3cret-t0ken")
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "s3cret-t0ken"},
        {"Authorization": "Basic s3cret-t0ken"},
        {"Cookie": f"vtnstream-studio-{served.port}=s3cret-t0ken"},
        {"Authorization": "Bearer s3cret-t0ken\xe9"},
    ):
        for path in ("/", "/api/results", "/assets/library.js", "/?token=wrong"):
            assert served.ask("GET", path, headers=headers)[0] == 401
    bearer = {"Authorization": "Bearer s3cret-t0ken"}
    assert served.ask("GET", "/api/results", headers=bearer)[0] == 200
    status, headers, _ = served.ask("GET", "/video/a?x=1&token=s3cret-t0ken")
    assert (status, headers["location"]) == (303, "/video/a?x=1")
    assert "HttpOnly" in headers["set-cookie"] and "s3cret" not in headers["set-cookie"]
    cookie = {"Cookie": headers["set-cookie"].partition(";")[0]}
    assert served.ask("GET", "/api/results", headers=cookie)[0] == 200
    assert served.ask("GET", "//evil.example/?token=s3cret-t0ken")[1]["location"].startswith("/e")
    assert served.ask("POST", "/api/scan?token=s3cret-t0ken", {})[0] == 401


PATHS = (
    "/assets/../service.py",
    "/assets/%2e%2e/service.py",
    "/assets/..%2fservice.py",
    "/assets/....//service.py",
    "/assets//etc/passwd",
    "/api/results/..%2f..%2fetc%2fpasswd/video",
    "/api/results/%00/video",
    "/video/../../etc/passwd",
)


def test_paths_lead_nowhere_else(served: Served) -> None:
    for path in PATHS:
        status, _, body = served.ask("GET", path)
        assert status in (400, 404) or b"<!doctype html>" in body[:20]
        assert b"root:" not in body and b"import" not in body


def test_every_answer_closes_the_page_to_other_hosts(served: Served) -> None:
    for path in (
        "/",
        "/api/results",
        "/assets/studio.css",
        "/shared/theme.css",
        "/shared/times.js",
        "/nowhere",
    ):
        headers = served.ask("GET", path)[1]
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in headers


def test_static_files_name_no_other_host() -> None:
    static = Path(__file__).parents[3] / "vtnstream" / "studio" / "static"
    for path in static.iterdir():
        text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text and "https:" not in text, path
        assert len(text.splitlines()) < 400, path
        assert "innerHTML" not in text and "eval(" not in text, path


def test_all_interfaces_need_a_token(tmp_path: Path) -> None:
    from vtnstream.config.studio import StudioConfig
    from vtnstream.errors import UsageError
    from vtnstream.studio.folders import Workspace
    from vtnstream.studio.service import Studio
    from vtnstream.studio.web.server import StudioServer

    studio: Any = Studio(Workspace.of([tmp_path]), cache=tmp_path)
    server = StudioServer(studio, StudioConfig(host="0.0.0.0", port=0))
    assert len(server.address.partition("?token=")[2]) > 30
    port = int(server.address.rpartition(":")[2].partition("/")[0])
    with pytest.raises(UsageError, match="another --port"):
        StudioServer(studio, StudioConfig(host="0.0.0.0", port=port))
    server.close()
    studio.close()
