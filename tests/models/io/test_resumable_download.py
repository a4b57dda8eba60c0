"""Downloads that are interrupted, changed, damaged or redirected."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import pytest
from filelock import FileLock

from tests.models.io.server import Behaviour, serving
from vtnstream.errors import CheckpointError, ModelError, OutputError
from vtnstream.models.io.resumable_download import ATTEMPTS, Expected, fetch
from vtnstream.progress import NullProgress

DATA = bytes(range(256)) * 4000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "file.pyth"


def get(url: str, path: Path, **expected: object) -> None:
    fetch(url, path, Expected(**expected), NullProgress())  # type: ignore[arg-type]


def left(path: Path) -> list[str]:
    return sorted(p.name for p in path.parent.iterdir() if p.suffix != ".lock")


def test_one_connection(path: Path) -> None:
    server = Behaviour(DATA)
    with serving(server) as url:
        get(url, path, size_bytes=len(DATA), sha256=server.sha256)
    assert path.read_bytes() == DATA and left(path) == ["file.pyth"]
    assert server.asked == [("/file", None)]


def test_interrupted_connections_are_resumed(path: Path) -> None:
    server = Behaviour(DATA, cut_after=[300_000, 1, 200_000])
    with serving(server) as url:
        get(url, path, sha256=server.sha256)
    assert path.read_bytes() == DATA
    assert [wanted for _, wanted in server.asked] == [
        None,
        "bytes=300000-",
        "bytes=300001-",
        "bytes=500001-",
    ]


def test_another_run_resumes_the_download(path: Path) -> None:
    server = Behaviour(DATA, cut_after=[100_000, 0, 0])
    with serving(server) as url:
        with pytest.raises(ModelError, match=r"ended after 100000 of 1024000 bytes.*to resume"):
            get(url, path)
        assert left(path) == ["file.pyth.part", "file.pyth.part.tag"]
        server.asked.clear()
        server.cut_after.clear()
        get(url, path)
    assert path.read_bytes() == DATA and server.asked == [("/file", "bytes=100000-")]


def test_repeated_interruptions_fail(path: Path) -> None:
    server = Behaviour(DATA, cut_after=[10] * 99)
    with serving(server) as url, pytest.raises(ModelError, match="to resume"):
        get(url, path)
    assert len(server.asked) == ATTEMPTS and not path.exists()


@pytest.mark.parametrize("change", ["tag", "no ranges", "part too long", "no tag"])
def test_a_part_of_another_file_is_discarded(path: Path, change: str) -> None:
    server = Behaviour(DATA, cut_after=[100_000, 0, 0])
    with serving(server) as url:
        with pytest.raises(ModelError):
            get(url, path)
        server.cut_after.clear()
        if change == "tag":
            server.data, server.tag = DATA[::-1], '"two"'
        elif change == "no ranges":
            server.ranges = False
        elif change == "part too long":
            path.with_name("file.pyth.part").write_bytes(DATA + b"more")
        else:
            path.with_name("file.pyth.part.tag").write_text("")
        get(url, path)
    assert path.read_bytes() == server.data


def test_an_interruption_is_noticed_without_a_length(path: Path) -> None:
    server = Behaviour(DATA, chunked=True, cut_after=[1000])
    with serving(server) as url:
        get(url, path)
    assert path.read_bytes() == DATA


def test_a_file_with_a_wrong_hash_is_deleted(path: Path) -> None:
    with serving(Behaviour(DATA)) as url:
        with pytest.raises(CheckpointError, match=f"not {'0' * 64}"):
            get(url, path, sha256="0" * 64)
        assert left(path) == []


def test_damage_is_found_by_the_servers_md5(path: Path) -> None:
    server = Behaviour(DATA)
    with serving(server) as url:
        server.md5 = base64.b64encode(hashlib.md5(b"other").digest()).decode()
        with pytest.raises(CheckpointError, match="damaged in transfer"):
            get(url, path)
        assert left(path) == []
        server.md5 = base64.b64encode(hashlib.md5(DATA).digest()).decode()
        get(url, path)
    assert path.read_bytes() == DATA


def test_a_wrong_size_is_refused_before_the_download(path: Path) -> None:
    with serving(Behaviour(DATA)) as url:
        with pytest.raises(CheckpointError, match="1024000 bytes, the published file 5"):
            get(url, path, size_bytes=5)
        assert left(path) == []


def test_redirects_stay_on_the_host(path: Path) -> None:
    server = Behaviour(DATA, redirect="/elsewhere")
    with serving(server) as url:
        get(url, path, sha256=server.sha256)
        assert path.read_bytes() == DATA
        path.unlink()
        for target in ("http://localhost:1/file", "file:///etc/passwd", "ftp://127.0.0.1/file"):
            server.redirect = target
            with pytest.raises(ModelError, match=r"not followed|not allowed|cannot be reached"):
                get(url, path)
        assert left(path) == []


def test_missing_file_and_unreachable_server(path: Path) -> None:
    with serving(Behaviour(DATA)) as url, pytest.raises(ModelError, match="404"):
        get(url.replace("/file", "/none"), path)
    with pytest.raises(ModelError, match="cannot be reached"):
        get(url, path)
    with pytest.raises(ModelError, match="cannot be reached"):
        get("file:///etc/passwd", path)


def test_one_download_at_a_time(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with FileLock(path.with_name("file.pyth.lock")), pytest.raises(OutputError, match="another"):
        get("http://127.0.0.1:1/file", path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes anywhere")
def test_an_unwritable_folder(path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o500)
    with serving(Behaviour(DATA)) as url, pytest.raises(OutputError, match="cannot be written"):
        get(url, path)
