"""Batches through several workers: the same rows in the same order, whichever worker encodes
them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from tests.patience import HANG
from vtnstream.config import BackboneConfig, PreprocessConfig
from vtnstream.encoding.encoder import FrameEncoder, resolve_device
from vtnstream.encoding.runner import Runner
from vtnstream.encoding.runner import worker_plan as plan_of
from vtnstream.encoding.worker_pool import MOST_WORKERS, BackboneThreads, Encoding, WorkerPlan
from vtnstream.errors import UsageError, VideoDecodeError
from vtnstream.models.backbone import create_backbone
from vtnstream.types import DecodeStats, FrameChunk, TokenTimes

BATCH = 4


@pytest.fixture(scope="module")
def encoder() -> FrameEncoder:
    torch.manual_seed(0)
    config = BackboneConfig("test_vit", {"img_size": 64})
    preprocess = PreprocessConfig(size=64, resize=64)
    return FrameEncoder(create_backbone(config), config, preprocess, dtype="float32")


def frames(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 64, 64, 3), np.uint8)


def chunk(first: int, count: int) -> FrameChunk:
    indices = np.arange(first, first + count)
    seconds = indices.astype(np.float64)
    times = TokenTimes(indices, indices, seconds, seconds + 1)
    stats = DecodeStats(num_frames=count)
    return FrameChunk(frames(count, first), times, first, first + BATCH, stats)


def encoded(run: Runner, worker_plan: WorkerPlan, total: int) -> np.ndarray:
    starts = range(0, total, BATCH)
    batches = (chunk(first, min(BATCH, total - first)) for first in starts)
    with Encoding(run, worker_plan, 64) as encoding:
        results = list(encoding.results(batches))
    assert [result.first_index for result in results] == list(starts)
    assert sum(result.stats.num_frames for result in results) == total
    assert encoding.busy_seconds > 0
    return np.concatenate([result.values for result in results])


@pytest.mark.parametrize("workers", [2, 3, 5])
def test_rows_do_not_depend_on_the_number_of_workers(encoder: FrameEncoder, workers: int) -> None:
    run = encoder.runner(BATCH)
    alone = encoded(run, WorkerPlan(1, 1), 30)
    assert alone.dtype == np.float32 and alone.shape == (30, encoder.num_features)
    np.testing.assert_array_equal(encoded(run, WorkerPlan(workers, 1), 30), alone)


def test_a_fixed_engine_gets_full_batches_and_returns_the_requested_rows(
    encoder: FrameEncoder,
) -> None:
    shapes = []

    def engine(pixels: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(pixels.shape))
        return encoder.network(pixels)

    run = encoder.runner(BATCH, engine)
    whole, part = frames(BATCH), frames(BATCH)[:3]
    assert run(part).shape == (3, encoder.num_features)
    np.testing.assert_array_equal(run(part), run(whole)[:3])
    assert set(shapes) == {(BATCH, 64, 64, 3)}


@pytest.mark.parametrize("count", [BATCH, 3])
def test_on_a_gpu_a_batch_is_encoded_in_one_stream(
    encoder: FrameEncoder, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Padding a batch must happen in the same stream, because work in other streams may be
    unfinished.

    A stand-in for the GPU records the current stream.
    """
    within, outside = [False], []

    @contextmanager
    def stream(own: object) -> Iterator[None]:
        within[0] = True
        yield
        within[0] = False

    class OnTheGpu(torch.Tensor):
        is_cuda = True

        @classmethod
        def __torch_function__(cls, function: Any, *arguments: Any, **more: Any) -> Any:
            if not within[0]:
                outside.append(function.__name__)
            return super().__torch_function__(function, *arguments, **more)

        def record_stream(self, own: object) -> None:
            pass

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: object())
    monkeypatch.setattr(torch.cuda, "stream", stream)
    host = frames(count)
    pixels = torch.from_numpy(host).as_subclass(OnTheGpu)
    run = encoder.runner(BATCH, encoder.network)
    expected = run(host)
    run.device = torch.device("cuda")
    values = run(pixels)
    assert set(outside) <= {"__getitem__", "__len__", "__get__", "numpy"}, "nothing is computed"
    np.testing.assert_array_equal(values, expected)


def test_batches_before_a_failure_are_returned_first(encoder: FrameEncoder) -> None:
    def failing() -> Iterator[FrameChunk]:
        for first in range(0, 20, BATCH):
            yield chunk(first, BATCH)
        raise VideoDecodeError("film.mp4: gone")

    seen = []
    worker_plan = WorkerPlan(3, 1)
    with (
        Encoding(encoder.runner(BATCH), worker_plan, 64) as encoding,
        pytest.raises(VideoDecodeError, match="gone"),
    ):
        for result in encoding.results(failing()):
            seen.append(result.first_index)
    assert seen == list(range(0, 20, BATCH))


def test_at_most_twice_as_many_batches_as_workers_are_in_memory(encoder: FrameEncoder) -> None:
    started, most, lock, release = 0, 0, threading.Lock(), threading.Event()

    def slow(pixels: torch.Tensor) -> torch.Tensor:
        release.wait(HANG)
        return encoder.network(pixels)

    def batches() -> Iterator[FrameChunk]:
        nonlocal started
        for first in range(0, 40 * BATCH, BATCH):
            with lock:
                started += 1
            yield chunk(first, BATCH)

    worker_plan = WorkerPlan(2, 1)
    with Encoding(encoder.runner(BATCH, slow), worker_plan, 64) as encoding:
        results = encoding.results(batches())
        taker = threading.Thread(target=lambda: next(results))
        taker.start()
        end = time.monotonic() + HANG
        while started < 2 * worker_plan.workers and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.2)
        most = started  # the first result is not there, so nothing more may be taken
        release.set()
        taker.join()
        assert len(list(results)) == 39
    assert most == 2 * worker_plan.workers


def test_the_number_of_torch_threads_is_restored(encoder: FrameEncoder) -> None:
    before = torch.get_num_threads()
    encoded(encoder.runner(BATCH), WorkerPlan(2, 1), 8)
    assert torch.get_num_threads() == before
    seen: list[int] = []
    new = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    new.start()
    new.join()
    assert seen == [before], "new threads begin as before, too"


def test_features_that_are_not_finite_are_refused(encoder: FrameEncoder) -> None:
    def engine(pixels: torch.Tensor) -> torch.Tensor:
        return encoder.network(pixels) * float("nan")

    with pytest.raises(UsageError, match=r"test_vit in float32.*not finite.*--dtype"):
        encoder.runner(BATCH, engine)(frames(2))


@pytest.mark.parametrize(
    ("cores", "worker_plan"),
    [
        (1, WorkerPlan(1, 1)),
        (2, WorkerPlan(2, 1)),
        (MOST_WORKERS, WorkerPlan(MOST_WORKERS, 1)),
        (64, WorkerPlan(MOST_WORKERS, 4)),
    ],
)
def test_worker_plans_of_small_and_large_machines(
    cores: int, worker_plan: WorkerPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    assert plan_of(torch.device("cpu")) == worker_plan


def test_a_gpu_is_named_with_its_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thread has a current GPU of its own, which may be another one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    for name, device in (("auto", "cuda:1"), ("cuda", "cuda:1"), ("cuda:0", "cuda:0")):
        assert resolve_device(name) == torch.device(device)
    assert resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(UsageError, match=r"'cuda:2' does not exist: the last one is cuda:1"):
        resolve_device("cuda:2")


def test_decoder_and_workers_share_the_cores() -> None:
    assert WorkerPlan(2, 1).rate(0.01, 0.03, "cpu") == pytest.approx(50)
    assert WorkerPlan(8, 1).rate(0.01, 0.03, "cpu") == pytest.approx(100), (
        "the decoder has one thread"
    )
    assert WorkerPlan(2, 1).rate(0.01, 0.001, "cuda") == pytest.approx(100)


def test_shared_threads_serve_several_videos(encoder: FrameEncoder) -> None:
    run, plan = encoder.runner(BATCH), WorkerPlan(2, 1)
    expected = encoded(run, plan, 30)
    threads = shared_threads(plan)

    def one_video(_: int) -> np.ndarray:
        batches = (chunk(first, min(BATCH, 30 - first)) for first in range(0, 30, BATCH))
        with Encoding(run, plan, 64, threads) as encoding:
            return np.concatenate([result.values for result in encoding.results(batches)])

    with ThreadPoolExecutor(4) as videos:
        for values in videos.map(one_video, range(8)):
            np.testing.assert_array_equal(values, expected)
    threads.close()


def test_no_engine_runs_while_shared_threads_are_paused(encoder: FrameEncoder) -> None:
    calls = []

    def engine(pixels: torch.Tensor) -> torch.Tensor:
        calls.append(is_paused)
        return encoder.network(pixels)

    run, threads = encoder.runner(BATCH, engine), shared_threads(WorkerPlan(2, 1))
    is_paused = False
    first = [threads.submit(run, frames(BATCH)) for _ in range(4)]
    with threads.paused():
        is_paused = True
        later = [threads.submit(run, frames(BATCH)) for _ in range(4)]
        time.sleep(0.05)
        is_paused = False
    for future in (*first, *later):
        assert future.result(HANG).values.shape == (BATCH, encoder.num_features)
    assert calls == [False] * 8
    threads.close()


@pytest.mark.parametrize("mixes", [False, True])
def test_the_last_frames_of_several_videos_share_a_batch(
    encoder: FrameEncoder, mixes: bool
) -> None:
    """Their features are those of a padded batch, also of an engine whose rows depend on others."""
    calls = []

    def engine(pixels: torch.Tensor) -> torch.Tensor:
        calls.append(pixels)
        return encoder.network(pixels) + (pixels.float().mean() if mixes else 0)

    plan, videos = WorkerPlan(2, 1), 8
    expected = encoded(encoder.runner(BATCH, engine), plan, 9)
    assert len(calls) == 3
    run, threads = encoder.runner(BATCH, engine), shared_threads(plan, videos)
    assert run.may_join(frames(1)) != mixes
    calls.clear()
    together = threading.Barrier(videos)

    def one_video(_: int) -> np.ndarray:
        def batches() -> Iterator[FrameChunk]:
            yield from (chunk(first, min(BATCH, 9 - first)) for first in range(0, 9, BATCH))
            together.wait(HANG)  # all have added their last frames

        with Encoding(run, plan, 64, threads) as encoding:
            return np.concatenate([result.values for result in encoding.results(batches())])

    with ThreadPoolExecutor(videos) as pool:
        for values in pool.map(one_video, range(videos)):
            np.testing.assert_array_equal(values, expected)
    assert len(calls) == 3 * videos if mixes else len(calls) == 2 * videos + videos // BATCH
    threads.close()


def test_a_video_that_fails_in_a_shared_batch_fails_alone(encoder: FrameEncoder) -> None:
    def engine(pixels: torch.Tensor) -> torch.Tensor:
        values = encoder.network(pixels)
        return torch.where((pixels == 7).flatten(1).all(1)[:, None], torch.nan, values)

    run, threads = encoder.runner(BATCH, engine), shared_threads(WorkerPlan(2, 1))
    good, bad = frames(1), np.full((1, 64, 64, 3), 7, np.uint8)
    with threads.reading():
        first, wrong, last = (threads.submit(run, one) for one in (good, bad, good))
    for future in (first, last):
        np.testing.assert_array_equal(future.result(HANG).values, run(good))
    with pytest.raises(UsageError, match="not finite"):
        wrong.result(HANG)
    threads.close()


def test_frames_do_not_wait_for_a_video_that_does_not_end(encoder: FrameEncoder) -> None:
    run, threads = encoder.runner(BATCH, encoder.network), shared_threads(WorkerPlan(2, 1))
    with threads.reading(), Encoding(run, WorkerPlan(2, 1), 64, threads) as encoding:
        (result,) = encoding.results(iter([chunk(0, 1)]))
        np.testing.assert_array_equal(result.values, run(frames(1)))
    threads.close()


def test_at_most_so_many_videos_are_read_at_the_same_time() -> None:
    threads, most, now, lock = shared_threads(WorkerPlan(2, 1), decoders=2), 0, 0, threading.Lock()

    def read(_: int) -> None:
        nonlocal most, now
        with threads.reading():
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.01)
            with lock:
                now -= 1

    with ThreadPoolExecutor(6) as videos:
        list(videos.map(read, range(6)))
    assert most == 2
    threads.close()


def shared_threads(plan: WorkerPlan, decoders: int | None = None) -> BackboneThreads:
    begin = partial(torch.set_num_threads, plan.threads)
    return BackboneThreads(plan.workers, begin, decoders=decoders)
