"""Videos that are not local files: addresses, playlists, standard input."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.cli.conftest import Outcome
from tests.synth import SyntheticVideo
from tests.transport.server import Site, serving

Run = Callable[..., Outcome]
_OF_THE_RUN = ("store", "video_sha256", "video_blocks_sha256", "seconds", "runtime")


@pytest.fixture
def site(video: Path, tmp_path: Path) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    shutil.copy(video, folder / "film.mp4")
    with serving(Site(folder)) as site:
        yield site


def result(outcome: Outcome) -> dict[str, Any]:
    """Return the JSON document without the fields that differ: names, paths, times of day."""
    assert outcome.code == 0, outcome.err
    document: dict[str, Any] = json.loads(outcome.out)
    document.pop("input")
    document["video"].pop("path")
    for name in list(document["run"]):
        if name in _OF_THE_RUN or name.endswith("_seconds"):
            document["run"].pop(name)
    return document


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Put bytes on standard input."""

    def pipe(data: bytes) -> None:
        raw = io.BufferedReader(io.BytesIO(data))  # type: ignore[arg-type]
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(raw))

    return pipe


def test_a_url_gives_the_result_of_the_file(
    run: Run, video: Path, model_folder: Path, site: Site
) -> None:
    settings = ("--model", model_folder, "--json", "--window", "8")
    local = result(run("timeline", video, *settings))
    assert result(run("timeline", f"{site.address}/film.mp4", *settings)) == local
    system = fsspec.filesystem("memory")
    system.pipe("/films/film.mp4", video.read_bytes())
    assert result(run("timeline", "memory://films/film.mp4", *settings)) == local
    site.ranges = False
    assert (
        result(run("timeline", f"{site.address}/film.mp4", *settings))["segments"]
        == (local["segments"])
    )


def test_features_of_an_address_are_kept_until_it_changes(
    run: Run, model_folder: Path, site: Site
) -> None:
    url = f"{site.address}/film.mp4"
    settings = ("--model", model_folder, "--json")

    def encoded() -> int:
        outcome = run("classify", url, *settings)
        assert outcome.code == 0, outcome.err
        count: int = json.loads(outcome.out)["run"]["tokens_encoded"]
        return count

    assert encoded() > 0
    before = site.sent
    assert encoded() == 0
    os.utime(site.folder / "film.mp4", (1, 1))  # as a server sees a new version
    assert encoded() > 0
    assert site.sent > before


def test_an_interrupted_url_resumes(run: Run, model_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "long"
    folder.mkdir()
    SyntheticVideo(count=6000, size=(64, 48), gop=50).write(folder / "film.mkv")
    with serving(Site(folder)) as site:
        settings = ("--model", model_folder, "--json", "--batch-size", "4")
        url = f"{site.address}/film.mkv"
        first = run("classify", url, "--end", "100", *settings)  # a run that got so far
        assert first.code == 0, first.err
        second = json.loads(run("classify", url, *settings).out)["run"]
    assert 0 < second["tokens_encoded"] < second["tokens"]


def test_a_server_without_parts_is_copied_within_a_limit(
    run: Run, video: Path, model_folder: Path, site: Site
) -> None:
    site.ranges = False
    url = f"{site.address}/film.mp4"
    outcome = run("classify", url, "--model", model_folder, "--spool-limit", "10KB")
    assert outcome.code == 1 and len(outcome.errors) == 1
    assert url in outcome.errors[0] and "--spool-limit" in outcome.errors[0]


def test_a_video_on_standard_input(
    run: Run, video: Path, model_folder: Path, piped: Callable[[bytes], None]
) -> None:
    settings = ("--model", model_folder, "--json")
    local = result(run("classify", video, "--no-cache", *settings))
    piped(video.read_bytes())
    outcome = run("classify", "-", "--no-cache", *settings)
    assert result(outcome) == local and json.loads(outcome.out)["input"] == "-"
    piped(f"{video}\n".encode())
    assert json.loads(run("classify", "-", *settings).out)[0]["input"] == str(video)
    piped(f"{video}\0{video}\0".encode())
    assert "is -0 missing" in run("classify", "-", *settings).err
    piped(video.read_bytes()[:100_000] + bytes(100))
    outcome = run("attention", "-", "--model", model_folder, "-o", "out")
    assert outcome.code == 2 and "save standard input to a file" in outcome.err


@pytest.mark.slow
def test_a_pipe_through_a_real_process(video: Path, model_folder: Path, home: Path) -> None:
    command = [sys.executable, "-m", "vtnstream", "classify", "-", "-m", model_folder, "--jsonl"]
    with subprocess.Popen(["cat", video], stdout=subprocess.PIPE) as cat:
        done = subprocess.run(command, stdin=cat.stdout, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["start", "result"]


def test_a_mp4_with_its_index_at_the_end_or_the_front(
    run: Run, tmp_path: Path, model_folder: Path, piped: Callable[[bytes], None]
) -> None:
    answers = []
    for name, muxer in (("end", {}), ("front", {"movflags": "+faststart"})):
        path = SyntheticVideo(count=100, muxer=muxer).write(tmp_path / f"{name}.mp4")
        piped(path.read_bytes())
        answers.append(result(run("classify", "-", "--model", model_folder, "--json"))["classes"])
    assert answers[0] == answers[1]


@pytest.fixture
def playlist(site: Site) -> str:
    """Write a finished playlist of transport stream segments."""
    path = site.folder / "list.m3u8"
    SyntheticVideo(
        count=500,
        size=(64, 48),
        gop=25,
        format="hls",
        muxer={"hls_time": "4", "hls_list_size": "0"},
    ).write(path)
    return f"{site.address}/list.m3u8"


def test_a_playlist_is_its_segments(
    run: Run, model_folder: Path, site: Site, playlist: str, tmp_path: Path
) -> None:
    segments = sorted(site.folder.glob("list*.ts"), key=lambda path: int(path.stem[4:]))
    assert len(segments) == 5
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(path.read_bytes() for path in segments))
    settings = ("--model", model_folder, "--json", "--window", "8", "--no-cache")
    assert result(run("timeline", playlist, *settings)) == result(
        run("timeline", joined, *settings)
    )


def test_a_playlist_reaches_its_own_host_only(
    run: Run, model_folder: Path, site: Site, playlist: str, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.ts"
    shutil.copy(site.folder / "list1.ts", secret)
    with serving(Site(tmp_path)) as other:
        for there in (
            f"{other.address}/secret.ts",
            f"file://{secret}",
            str(secret),
            "//127.0.0.2/x",
        ):
            text = (site.folder / "list.m3u8").read_text()
            (site.folder / "evil.m3u8").write_text(text.replace("list1.ts", there))
            outcome = run("classify", f"{site.address}/evil.m3u8", "--model", model_folder)
            assert outcome.code == 1, outcome.err
            refused = "not on its own host" if ":" in there or there[1] == "/" else "404"
            assert refused in outcome.err
        assert other.asked == []


def test_a_redirect_stays_on_the_host(run: Run, model_folder: Path, site: Site) -> None:
    site.redirects["/moved"] = "/film.mp4"
    site.redirects["/away"] = "http://127.0.0.2:1/film.mp4"
    fine = run("classify", f"{site.address}/moved", "--model", model_folder)
    assert fine.code == 0, fine.err
    outcome = run("classify", f"{site.address}/away", "--model", model_folder)
    assert outcome.code == 1 and "name that address" in outcome.err


def test_offline_uses_no_network(run: Run, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTNSTREAM_OFFLINE", "")  # what --offline sets is taken back afterwards
    for arguments in (("plan",), ("timeline",), ("timeline", "--follow")):
        done = run(*arguments, f"{site.address}/film.mp4", "--offline")
        assert done.code in (1, 2) and "offline mode is on" in done.errors[0], done.err
    assert site.asked == []


def test_addresses_in_lists_are_not_followed(
    run: Run, model_folder: Path, site: Site, tmp_path: Path
) -> None:
    names = tmp_path / "names.txt"
    names.write_text(f"{site.address}/film.mp4\n")
    outcome = run("classify", "--files-from", names, "--model", model_folder)
    assert outcome.code == 1 and "give addresses on the command line" in outcome.err
    assert site.asked == []


def test_live_streams_need_follow(run: Run, model_folder: Path) -> None:
    outcome = run("classify", "rtsp://127.0.0.1/camera", "--model", model_folder)
    assert outcome.code == 1 and "--follow" in outcome.err
