"""Following a stream gives the results of a run over the finished file."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.conftest import Outcome
from tests.cli.followed import draw, save_varying_model
from tests.patience import HANG
from tests.synth import SyntheticVideo
from tests.transport.rtsp import camera
from tests.transport.server import Site, serving

Run = Callable[..., Outcome]
Events = list[dict[str, Any]]

WINDOW = ("--window", "6", "--stride", "3", "--localize", "sliding", "--dtype", "float32")
FOLLOW = ("--follow", "--follow-timeout", "1.5")

# A writer in a process of its own: argument 1 in 20 pieces to argument 2.
WRITER = """
import sys, time
data = open(sys.argv[1], "rb").read()
size = -(-len(data) // 20)
with open(sys.argv[2], "wb", 0) as file:
    for start in range(0, len(data), size):
        file.write(data[start : start + size])
        time.sleep(0.08)
"""


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One minute as Matroska, transport stream and fragmented MP4."""
    folder = tmp_path_factory.mktemp("videos")
    found = {}
    for name, muxer in (("mkv", {}), ("ts", {}), ("mp4", {"movflags": "frag_keyframe+empty_moov"})):
        video = SyntheticVideo(count=600, rate=10, size=(64, 64), gop=10, draw=draw, muxer=muxer)
        video.format = {"mkv": "matroska", "ts": "mpegts", "mp4": "mp4"}[name]
        found[name] = video.write(folder / f"film.{name}")
    return found


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_varying_model(tmp_path_factory.mktemp("models") / "many-minds")


def events_of(text: str) -> Events:
    return [json.loads(line) for line in text.splitlines()]


def finals(events: Events) -> Events:
    keys = ("start", "end", "label", "score")
    found = [e for e in events if e["event"] == "segment" and e["final"]]
    return [{key: event[key] for key in keys} for event in found]


@pytest.fixture
def whole(run: Run, model_folder: Path) -> Callable[..., dict[str, Any]]:
    """Run over a finished file."""

    def whole(path: Path | str, *more: str) -> dict[str, Any]:
        outcome = run("timeline", path, "-m", model_folder, "--json", *WINDOW, *more)
        assert outcome.code == 0, outcome.err
        document: dict[str, Any] = json.loads(outcome.out)
        assert len(document["segments"]) >= 4  # or equality would say little
        return document

    return whole


def same(events: Events, document: dict[str, Any]) -> None:
    """Compare final segments and classes with the document, up to the rounding of other batches."""
    said, expected = finals(events), document["segments"]
    exact = ("start", "end", "label")
    assert [[s[k] for k in exact] for s in said] == [[s[k] for k in exact] for s in expected]
    assert np.allclose([s["score"] for s in said], [s["score"] for s in expected], atol=1e-4)
    result = events[-1]
    assert result["event"] == "result" and result["num_segments"] == len(expected)
    assert [c["label"] for c in result["classes"]] == [c["label"] for c in document["classes"]]
    scores = [[c["score"] for c in d["classes"]] for d in (result, document)]
    assert np.allclose(*scores, atol=1e-4)
    assert result["video"]["width"] == document["video"]["width"]
    assert result["run"]["tokens"] == document["run"]["tokens"]


@pytest.mark.parametrize("kind", ["mkv", "ts", pytest.param("mp4", marks=pytest.mark.slow)])
def test_a_growing_file_gives_the_result_of_the_finished_file(
    run: Run,
    whole: Callable[..., dict[str, Any]],
    videos: dict[str, Path],
    model_folder: Path,
    tmp_path: Path,
    kind: str,
) -> None:
    target = tmp_path / f"growing.{kind}"
    target.touch()
    with subprocess.Popen([sys.executable, "-c", WRITER, videos[kind], target]) as writer:
        outcome = run("timeline", target, "-m", model_folder, *WINDOW, *FOLLOW)
        writer.wait()
    assert outcome.code == 0, outcome.err
    events = events_of(outcome.out)
    same(events, whole(videos[kind]))
    start = events[0]
    assert start["event"] == "start" and start["delay_seconds"] == (6 + 4 + 1) / 2
    guesses = [e for e in events if e["event"] == "segment" and not e["final"]]
    revisions = [e["revision"] for e in guesses]
    assert revisions == sorted(revisions) and revisions[-1] > 3


def test_smoothing_and_durations_on_the_way(
    run: Run, whole: Callable[..., dict[str, Any]], videos: dict[str, Path], model_folder: Path
) -> None:
    more = ("--smoothing", "median", "--min-duration", "1.5", "--merge-gap", "1")
    outcome = run("timeline", videos["ts"], "-m", model_folder, *WINDOW, *FOLLOW, *more)
    assert outcome.code == 0, outcome.err
    same(events_of(outcome.out), whole(videos["ts"], *more))


@contextmanager
def pouring(target: Path, source: Path) -> Iterator[threading.Event]:
    """Append the source to the target until the event is set."""
    enough, data = threading.Event(), source.read_bytes()

    def pour() -> None:
        with target.open("wb", 0) as file:
            for start in range(0, len(data), 4000):
                file.write(data[start : start + 4000])
                if enough.wait(0.05):
                    return

    thread = threading.Thread(target=pour)
    thread.start()
    try:
        yield enough
    finally:
        enough.set()
        thread.join()


@pytest.mark.parametrize(
    ("signum", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_a_signal_stops_it_and_final_segments_remain_valid(
    whole: Callable[..., dict[str, Any]],
    videos: dict[str, Path],
    model_folder: Path,
    tmp_path: Path,
    signum: int,
    code: int,
) -> None:
    target = tmp_path / "growing.ts"
    target.touch()
    command = [sys.executable, "-m", "vtnstream", "timeline", target, "-m", model_folder]
    command += [*WINDOW, "--follow", "--follow-timeout", "60"]
    with (
        pouring(target, videos["ts"]),
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
    ):
        assert process.stdout is not None
        lines = []
        while len(finals(events_of("".join(lines)))) < 1:
            lines.append(process.stdout.readline().decode())
        process.send_signal(signum)
        out, err = process.communicate(timeout=HANG)
    assert process.returncode == code, err
    assert b"remain valid" in err and err.count(b"\n") == 1
    events = events_of("".join(lines) + out.decode())
    result = events[-1]
    assert result["event"] == "result" and result["interrupted"] is True
    assert "stopped after" in result["partial"]["reasons"][0]
    said, expected = finals(events), whole(videos["ts"])["segments"]
    assert 0 < len(said) == result["num_segments"]
    for mine, its in zip(said, expected, strict=False):
        assert [mine[k] for k in ("start", "end", "label")] == [
            its[k] for k in ("start", "end", "label")
        ]
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_a_live_playlist(
    run: Run,
    whole: Callable[..., dict[str, Any]],
    videos: dict[str, Path],
    model_folder: Path,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "hls"
    folder.mkdir()
    muxer = {"hls_time": "6", "hls_list_size": "0"}
    SyntheticVideo(
        count=600, rate=10, size=(64, 64), gop=10, draw=draw, format="hls", muxer=muxer
    ).write(folder / "full.m3u8")
    lines = (folder / "full.m3u8").read_text().splitlines()
    ends = [i + 1 for i, line in enumerate(lines) if line.endswith(".ts")]
    assert len(ends) >= 8 and lines[-1] == "#EXT-X-ENDLIST"
    live = folder / "live.m3u8"
    head = ["#EXT-X-TARGETDURATION:1" if "TARGETDURATION" in x else x for x in lines]
    head.insert(1, "#EXT-X-PLAYLIST-TYPE:EVENT")

    def show(count: int) -> None:
        shown = "\n".join(head[: ends[count - 1] + 1])
        part = folder / "next"
        part.write_text(shown + "\n" if count < len(ends) else "\n".join(head) + "\n")
        part.replace(live)

    def grow() -> None:
        for count in range(3, len(ends) + 1):
            show(count)
            time.sleep(0.2)

    show(2)
    grower = threading.Thread(target=grow)
    with serving(Site(folder)) as site:
        grower.start()
        outcome = run(
            "timeline", f"{site.address}/live.m3u8", "-m", model_folder, *WINDOW, "--follow"
        )
        grower.join()
        finished = whole(f"{site.address}/full.m3u8")
    assert outcome.code == 0, outcome.err
    same(events_of(outcome.out), finished)


def test_a_live_playlist_whose_initialisation_changes(
    run: Run, whole: Callable[..., dict[str, Any]], model_folder: Path, tmp_path: Path
) -> None:
    """The second part has another size and another clock, and appears after the first was read."""
    lines = ["#EXTM3U", "#EXT-X-PLAYLIST-TYPE:EVENT", "#EXT-X-TARGETDURATION:1"]
    states = []
    for name, size, start in (("a", 64, 0.0), ("b", 48, 500.0)):
        muxer = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
        video = SyntheticVideo(
            count=300, rate=10, size=(size, size), gop=10, start=start, draw=draw, muxer=muxer
        )
        data = video.write(tmp_path / f"{name}.mp4").read_bytes()
        begin = data.index(b"moof") - 4
        (tmp_path / f"{name}-init.mp4").write_bytes(data[:begin])
        (tmp_path / f"{name}.m4s").write_bytes(data[begin:])
        lines += [f'#EXT-X-MAP:URI="{name}-init.mp4"', "#EXTINF:30,", f"{name}.m4s"]
        states.append("\n".join(lines))
        lines.append("#EXT-X-DISCONTINUITY")
    live = tmp_path / "live.m3u8"
    (tmp_path / "full.m3u8").write_text(states[1] + "\n#EXT-X-ENDLIST\n")
    live.write_text(states[0])

    def grow() -> None:
        while not any(path == "/a.m4s" for path, _ in site.asked):
            time.sleep(0.05)
        shutil.copy(tmp_path / "full.m3u8", tmp_path / "next")
        (tmp_path / "next").replace(live)

    with serving(Site(tmp_path)) as site:
        grower = threading.Thread(target=grow)
        grower.start()
        outcome = run(
            "timeline", f"{site.address}/live.m3u8", "-m", model_folder, *WINDOW, "--follow"
        )
        grower.join()
        finished = whole(f"{site.address}/full.m3u8")
    assert outcome.code == 0, outcome.err
    events = events_of(outcome.out)
    same(events, finished)
    assert events[-1]["partial"] is None
    assert events[-1]["range"] == finished["range"]


@pytest.mark.skipif(
    not shutil.which("ffmpeg") and not os.environ.get("CI"), reason="ffmpeg serves the stream"
)
def test_a_transport_stream_over_tcp(
    run: Run, whole: Callable[..., dict[str, Any]], videos: dict[str, Path], model_folder: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        videos["ts"],
        "-c",
        "copy",
        "-copyts",
        "-muxdelay",
        "0",
    ]
    command += ["-f", "mpegts", f"{address}?listen=1"]
    with subprocess.Popen(command) as server:
        end = time.monotonic() + HANG
        while time.monotonic() < end:
            outcome = run("timeline", address, "-m", model_folder, *WINDOW, *FOLLOW)
            if "cannot be reached" not in outcome.err:
                break
            time.sleep(0.05)
        server.wait(timeout=HANG)
    assert outcome.code == 0, outcome.err
    same(events_of(outcome.out), whole(videos["ts"]))


def test_a_camera(
    run: Run, whole: Callable[..., dict[str, Any]], videos: dict[str, Path], model_folder: Path
) -> None:
    with camera(videos["ts"]) as address:
        outcome = run("timeline", address, "-m", model_folder, *WINDOW, *FOLLOW)
    assert outcome.code == 0, outcome.err
    said, expected = finals(events_of(outcome.out)), whole(videos["ts"])["segments"]
    # Its clock begins with the first picture; RTP does not say how long the last one lasts.
    assert [s["label"] for s in said] == [s["label"] for s in expected]
    starts = [[s["start"] for s in found] for found in (said, expected)]
    assert np.allclose(*starts, atol=0.01)


@pytest.mark.slow
def test_a_pipe(
    whole: Callable[..., dict[str, Any]], videos: dict[str, Path], model_folder: Path
) -> None:
    command = [sys.executable, "-m", "vtnstream", "timeline", "-", "-m", model_folder]
    with subprocess.Popen(["cat", videos["mkv"]], stdout=subprocess.PIPE) as cat:
        done = subprocess.run(
            [*command, *WINDOW, "--follow"], stdin=cat.stdout, capture_output=True, timeout=120
        )
    assert done.returncode == 0, done.stderr
    same(events_of(done.stdout.decode()), whole(videos["mkv"]))


def test_errors_of_follow_are_one_line(
    run: Run, video: Path, videos: dict[str, Path], model_folder: Path, tmp_path: Path
) -> None:
    def refused(code: int, *arguments: str | Path) -> str:
        outcome = run("timeline", *arguments, "-m", model_folder, *FOLLOW)
        assert outcome.code == code and len(outcome.errors) == 1 and not outcome.out, outcome.err
        return outcome.errors[0]

    assert "fragmented" in refused(1, video)  # its index lies at the end
    assert "one stream" in refused(2, video, video)
    assert "--json cannot be used with --follow" in refused(2, videos["ts"], "--json")
    assert "--output-dir" in refused(2, videos["ts"], "-o", "out")
    assert "--viterbi" in refused(2, videos["ts"], "--viterbi", "2")
    assert "temporal.causal" in refused(2, videos["ts"], "--localize", "dense")
    assert "--fps" in refused(2, videos["ts"], "--num-frames", "8")
    assert "no such file" in refused(1, tmp_path / "nothing.ts")
    assert "empty" in refused(1, _touched(tmp_path / "empty.ts"))
    assert "cannot be reached" in refused(1, "tcp://127.0.0.1:9")
    assert "cannot be reached" in refused(1, "rtsp://me:secret@127.0.0.1:9/camera")
    assert "secret" not in refused(1, "rtsp://me:secret@127.0.0.1:9/camera")


def _touched(path: Path) -> Path:
    path.touch()
    return path


def test_a_file_cut_off_is_partial(
    run: Run, videos: dict[str, Path], model_folder: Path, tmp_path: Path
) -> None:
    data = bytearray(videos["ts"].read_bytes())
    data[40_000:44_000] = bytes(4000)
    target = tmp_path / "damaged.ts"
    target.write_bytes(data)
    outcome = run("timeline", target, "-m", model_folder, *WINDOW, *FOLLOW)
    assert outcome.code == 3 and "partial result" in outcome.err
    assert events_of(outcome.out)[-1]["partial"]["num_corrupt"] > 0
