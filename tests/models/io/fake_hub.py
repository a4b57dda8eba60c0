"""A local server with the parts of the Hugging Face Hub that uploads and downloads need.

The real client (huggingface_hub) talks to it over HTTP; nothing of the client is replaced.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_of_the_test"
LARGE = ".safetensors"
"""Files of this kind go through large file storage, all others into the commit itself."""


@dataclass
class Repository:
    private: bool
    branches: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"main": {}})

    def commit_of(self, branch: str) -> str:
        digest = hashlib.sha1()
        for name, data in sorted(self.branches[branch].items()):
            digest.update(name.encode() + data)
        return digest.hexdigest()

    def find(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        for name, files in self.branches.items():
            if revision in (name, self.commit_of(name)):
                return self.commit_of(name), files
        return None


@dataclass
class Hub:
    """The stored files, and all requests received."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    address: str = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, method: str) -> None:
        path = self.path.partition("?")[0]
        self.hub.asked.append(f"{method} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        for wanted, pattern, answer in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method in wanted.split():
                answer(self, body, *match.groups())
                return
        self._json(404, {"error": f"no route {method} {path}"})

    def _allowed(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return True
        self._json(401, {"error": "Invalid credentials"})
        return False

    def _json(self, code: int, data: Any, **headers: str) -> None:
        self._send(code, json.dumps(data).encode(), **headers)

    def _send(self, code: int, data: bytes, **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def create(self, body: bytes) -> None:
        if not self._allowed():
            return
        wanted = json.loads(body)
        name = f"{wanted['organization']}/{wanted['name']}" if "organization" in wanted else ""
        code = 409 if name in self.hub.repositories else 200
        if code == 200:
            private = wanted.get("private") or wanted.get("visibility") == "private"
            self.hub.repositories[name] = Repository(bool(private))
        self._json(code, {"url": f"{self.hub.address}/{name}"})

    def about(self, _: bytes, name: str, revision: str | None = None) -> None:
        found = self.hub.repositories.get(name)
        if found is None:
            self._json(404, {"error": "not found"}, X_Error_Code="RepoNotFound")
            return
        sha = found.commit_of("main")
        self._json(200, {"id": name, "private": found.private, "sha": sha, "siblings": []})

    def branch(self, body: bytes, name: str, branch: str) -> None:
        branches = self.hub.repositories[name].branches
        if branch in branches:
            self._json(409, {"error": "exists"})
            return
        branches[branch] = dict(branches["main"])
        self._json(200, {})

    def preupload(self, body: bytes, name: str, revision: str) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(body)["files"]
        ]
        self._json(200, {"files": files})

    def batch(self, body: bytes, name: str) -> None:
        objects = [
            {**o, "actions": {"upload": {"href": f"{self.hub.address}/lfs/{o['oid']}"}}}
            for o in json.loads(body)["objects"]
        ]
        self._json(200, {"transfer": "basic", "objects": objects})

    def store(self, body: bytes, oid: str) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.blobs[oid] = body
        self._send(200, b"")

    def commit(self, body: bytes, name: str, revision: str) -> None:
        if not self._allowed():
            return
        files = self.hub.repositories[name].branches[revision]
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
        sha = self.hub.repositories[name].commit_of(revision)
        self._json(
            200,
            {
                "success": True,
                "commitOid": sha,
                "commitUrl": f"{self.hub.address}/{name}/commit/{sha}",
            },
        )

    def resolve(self, _: bytes, name: str, revision: str, file: str) -> None:
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and not self._is_owner()):
            self._json(401, {"error": "not found"}, X_Error_Code="RepoNotFound")
            return
        found = repository.find(revision)
        if found is None:
            self._json(404, {"error": "no revision"}, X_Error_Code="RevisionNotFound")
            return
        sha, files = found
        if file not in files:
            self._json(404, {"error": "no file"}, X_Error_Code="EntryNotFound", X_Repo_Commit=sha)
            return
        tag = f'"{hashlib.sha256(files[file]).hexdigest()}"'
        self._send(200, files[file], ETag=tag, X_Repo_Commit=sha)

    def _is_owner(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def validate(self, _: bytes) -> None:
        self._json(200, {"errors": [], "warnings": []})


_NAME = r"([\w.-]+/[\w.-]+)"
ROUTES = (
    ("POST", "/api/repos/create", _Handler.create),
    ("POST", "/api/validate-yaml", _Handler.validate),
    ("GET", rf"/api/models/{_NAME}", _Handler.about),
    ("GET", rf"/api/models/{_NAME}/revision/([\w.-]+)", _Handler.about),
    ("POST", rf"/api/models/{_NAME}/branch/([\w.-]+)", _Handler.branch),
    ("POST", rf"/api/models/{_NAME}/preupload/([\w.-]+)", _Handler.preupload),
    ("POST", rf"/api/models/{_NAME}/commit/([\w.-]+)", _Handler.commit),
    ("POST", rf"/{_NAME}\.git/info/lfs/objects/batch", _Handler.batch),
    ("PUT", r"/lfs/(\w+)", _Handler.store),
    ("GET HEAD", rf"/{_NAME}/resolve/([\w.-]+)/(.+)", _Handler.resolve),
)


@contextmanager
def fake_hub() -> Iterator[Hub]:
    """A hub that serves while the context is open."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
