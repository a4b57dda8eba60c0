"""The source and the prefetching thread have bounded queues and close their files."""

from __future__ import annotations

import functools
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from tests.patience import HANG, at_most
from tests.synth import SyntheticVideo, paint, whole
from tests.video.reading import sampling
from vtnstream.errors import VideoDecodeError
from vtnstream.video import container, probe
from vtnstream.video.sampling.prefetch import prefetch
from vtnstream.video.source import VideoSource, open_video


def still(_number: int, width: int, height: int) -> np.ndarray:
    """Draw the same image on all frames, so that long videos are quick to make."""
    return board(width, height)


@functools.cache
def board(width: int, height: int) -> np.ndarray:
    return paint(1234, width, height)


def num_open() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return SyntheticVideo(count=500, gop=25).write(tmp_path / "film.mp4")


def source_of(path: Path, fps: int = 25) -> VideoSource:
    return open_video(path, sampling(fps=fps), fit=whole(32), chunk_size=8)


def test_an_unreferenced_iterator_closes_its_file(video: Path) -> None:
    source = source_of(video)
    before = num_open()
    for _chunk in source.chunks():
        assert num_open() > before
        break
    assert num_open() == before
    with pytest.raises(RuntimeError, match="summary"):
        _ = source.summary


def test_leaving_the_source_closes_its_iterators(video: Path) -> None:
    before = num_open()
    with source_of(video) as source:
        chunks = source.chunks()
        next(chunks)
    assert num_open() == before
    assert list(chunks) == []


def test_a_source_can_be_read_again(video: Path) -> None:
    with source_of(video) as source:
        first = [c.times.pts.tolist() for c in source.chunks()]
        assert [c.times.pts.tolist() for c in source.chunks()] == first


def test_prefetch_gives_equal_items_in_order(video: Path) -> None:
    with source_of(video) as source:
        straight = [c.times.pts.tolist() for c in source.chunks()]
        ahead = [c.times.pts.tolist() for c in prefetch(source.chunks())]
        assert ahead == straight
        assert source.summary.reached_end


def test_prefetch_never_runs_far_ahead() -> None:
    made = 0

    def numbers() -> Iterator[int]:
        nonlocal made
        for number in range(100):
            made += 1
            yield number

    items = prefetch(numbers(), depth=2)
    next(items)
    time.sleep(0.3)
    assert made <= 1 + 2 + 1  # taken, queued, in the thread's hands
    items.close()


def test_prefetch_passes_errors_on() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise VideoDecodeError("here")

    items = prefetch(failing())
    assert next(items) == 1
    with pytest.raises(VideoDecodeError, match="here"):
        next(items)


def test_leaving_prefetch_early_closes_everything(video: Path) -> None:
    before, threads = num_open(), threading.active_count()
    for _ in range(5):
        with source_of(video) as source:
            for _chunk in prefetch(source.chunks()):
                break
    gc.collect()
    assert num_open() == before
    assert threading.active_count() == threads


def test_a_long_wait_between_tokens_can_be_cancelled(tmp_path: Path) -> None:
    """There is one token in many thousand frames, and the consumer must not wait for the next."""
    video = SyntheticVideo(count=4000, rate=100, size=(320, 240), gop=250, draw=still)
    path = video.write(tmp_path / "film.mp4")
    source = open_video(path, sampling(fps="1/30"), fit=whole(32), chunk_size=1, skip=False)
    items = prefetch(source.chunks())
    threading.Timer(0.05, source.close).start()
    began = time.perf_counter()
    assert len(list(items)) <= 2
    assert time.perf_counter() - began < at_most(1)
    whole_pass = time.perf_counter()
    assert len(list(source.chunks())) == 2
    assert time.perf_counter() - whole_pass > 0.1  # else this test shows nothing


def test_an_interrupt_inside_libav_is_raised(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise av.error.InterruptedError(4, "Interrupted system call")

    monkeypatch.setattr(container.av, "open", interrupted)
    before = num_open()
    with pytest.raises(KeyboardInterrupt):
        probe.probe(video)
    assert num_open() == before


def test_ctrl_c_ends_a_pass_at_once(video: Path) -> None:
    script = f"""
        import sys
        from fractions import Fraction
        from tests.synth import whole
        from vtnstream.config import SamplingConfig
        from vtnstream.video.sampling.prefetch import prefetch
        from vtnstream.video.source import open_video
        try:
            while True:
                source = open_video({str(video)!r}, SamplingConfig(fps=Fraction(25)), fit=whole(32))
                for chunk in prefetch(source.chunks()):
                    print("chunk", flush=True)
        except KeyboardInterrupt:
            sys.exit(130)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=HANG)
    assert process.returncode == 130
    assert errors == ""


def test_memory_does_not_grow_with_the_length_of_the_video(tmp_path: Path) -> None:
    """Ten times as many frames need no more memory."""
    script = """
        import resource, sys
        from fractions import Fraction
        from vtnstream.config import SamplingConfig
        from tests.synth import whole
        from vtnstream.video.sampling.prefetch import prefetch
        from vtnstream.video.source import open_video
        with open_video(sys.argv[1], SamplingConfig(fps=Fraction(5)), fit=whole(64)) as source:
            for chunk in prefetch(source.chunks()):
                pass
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    peaks = []
    for count in (400, 4000):
        video = SyntheticVideo(count=count, size=(320, 240), gop=50, b_frames=2, draw=still)
        path = video.write(tmp_path / "film.mp4")
        out = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), str(path)],
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
            text=True,
        )
        peaks.append(int(out.stdout))
    assert peaks[1] - peaks[0] < 8_000  # kB; one picture is 115
