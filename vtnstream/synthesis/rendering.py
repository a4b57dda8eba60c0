"""Render many videos in parallel, each from its own seed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from vtnstream.progress import Progress

T = TypeVar("T")


def render_all(
    work: Callable[[int, Path], T], paths: Sequence[Path], *, workers: int, progress: Progress
) -> list[T]:
    """Call ``work(number, path)`` for every path and return the results in order. They do not
    depend on ``workers``.

    Args:
        work: can be pickled if there is more than one worker.
        paths: files to write.
        workers: number of processes.
        progress: receives each video.
    """
    progress.start("rendering videos", total=len(paths), unit="videos")
    videos: dict[int, T] = {}
    try:
        if workers > 1:
            _in_processes(work, paths, workers, progress, videos)
        for number, path in enumerate(paths):
            if number not in videos:
                videos[number] = work(number, path)
                progress.advance(len(videos))
    finally:
        progress.finish()
    return [videos[number] for number in range(len(paths))]


def _in_processes(
    work: Callable[[int, Path], T],
    paths: Sequence[Path],
    workers: int,
    progress: Progress,
    videos: dict[int, T],
) -> None:
    """Render in worker processes; the rest is left to the caller if they cannot be started."""
    # Spawned, never forked: libav and torch may already run threads in this process. Ctrl-C
    # reaches the whole process group, so the children leave it to this one.
    ignore = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    try:
        with ProcessPoolExecutor(workers, get_context("spawn"), ignore) as pool:
            futures = {pool.submit(work, i, path): i for i, path in enumerate(paths)}
            try:
                for future in as_completed(futures):
                    videos[futures[future]] = future.result()
                    progress.advance(len(videos))
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
    except BrokenProcessPool:
        # A script without an importable __main__ (python - < file) cannot spawn.
        progress.warn("no worker processes could be started: rendering in this one")
