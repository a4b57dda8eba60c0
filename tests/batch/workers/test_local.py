"""Workers that crash, hang, exceed their memory or end: one video fails, the others continue."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.batch import fake_executors
from tests.patience import HANG, at_most
from vtnstream.batch.workers.executor import MakeExecutor
from vtnstream.batch.workers.local import LocalPool
from vtnstream.batch.workers.outcome import Outcome, Task
from vtnstream.batch.workers.process import Event, WorkerProcess, describe_end
from vtnstream.config.batch import BatchConfig
from vtnstream.errors import BatchError, UsageError

MB = 2**20


def pool(
    output: Path, make_executor: object = fake_executors.make_executor, **config: object
) -> LocalPool:
    settings = BatchConfig(**{"workers": 1, "retries": 0, **config})  # type: ignore[arg-type]
    made: MakeExecutor = partial(make_executor, output)  # type: ignore[arg-type]
    return LocalPool(made, settings)


def work(pool: LocalPool, folder: Path, *names: str) -> dict[str, Outcome]:
    """Return the outcomes by name, in the order in which they arrived."""
    tasks = []
    for name in names:
        (folder / f"{name}.mp4").write_bytes(b"film")
        tasks.append(Task(str(folder / f"{name}.mp4"), name))
    with pool:
        pool.start()
        outcomes = list(pool.run(tasks, lambda share, note: None))
    assert Counter(o.path for o in outcomes) == Counter(task.path for task in tasks)
    assert not workers_left()
    return {Path(outcome.path).stem: outcome for outcome in outcomes}


def workers_left() -> list[psutil.Process]:
    return [p for p in psutil.Process().children(recursive=True) if p.is_running()]


def test_results_outputs_and_identity(tmp_path: Path) -> None:
    done = work(pool(tmp_path), tmp_path, "a", "partial", "b")
    assert [o.status for o in done.values()] == ["done", "partial", "done"]
    assert list(done) == ["a", "partial", "b"], "one worker keeps the order"
    assert done["a"].outputs == {"a.txt": len((tmp_path / "a.txt").read_text())}
    assert done["a"].file is not None and done["a"].file["size_bytes"] == 4
    assert done["partial"].partial == {
        "reasons": ["a hole"],
        "seconds_read": 3.0,
        "seconds_expected": 5.0,
    }
    assert (tmp_path / "a.txt").read_text() == (tmp_path / "b.txt").read_text(), "one process"
    assert (tmp_path / "a.txt").read_text() != str(os.getpid())


@pytest.mark.parametrize(
    ("deed", "code", "message"),
    [
        ("segfault", "crash", "crashed (SIGSEGV)"),
        ("abort", "crash", "crashed (SIGABRT)"),
        ("killed", "crash", "was killed (SIGKILL; the system may be out of memory)"),
        ("exit", "crash", "exited (code 3)"),
        ("quit", "crash", "exited (code 4)"),
        ("fail", "decode", "nothing could be decoded"),
        ("bug", "internal", "internal error: ZeroDivisionError: a (please"),
    ],
)
def test_a_failure_is_one_line_and_one_video(
    deed: str, code: str, message: str, tmp_path: Path
) -> None:
    done = work(pool(tmp_path), tmp_path, "before", deed, "after")
    failed = done[deed]
    assert (failed.status, failed.code) == ("failed", code)
    assert failed.error is not None and message in failed.error and "\n" not in failed.error
    assert failed.error.startswith(failed.path)
    assert [done[name].status for name in ("before", "after")] == ["done", "done"]
    replaced = (tmp_path / "before.txt").read_text() != (tmp_path / "after.txt").read_text()
    assert replaced == (code == "crash")


@pytest.mark.parametrize("deed", ["sleep", "stuck"])
def test_the_timeout_stops_a_hang_in_native_code(deed: str, tmp_path: Path) -> None:
    done = work(pool(tmp_path, timeout=1.0), tmp_path, deed, "after")
    assert done[deed].code == "timeout" and "--timeout" in (done[deed].error or "")
    assert 1.0 <= done[deed].seconds < at_most(5.0)
    assert done["after"].status == "done"


def test_growth_beyond_the_limit_ends_the_video(tmp_path: Path) -> None:
    done = work(pool(tmp_path, memory_limit_bytes=300 * MB), tmp_path, "grow", "after")
    assert done["grow"].code == "memory" and "the limit is 300 MB" in (done["grow"].error or "")
    assert done["after"].status == "done"


def test_a_memory_limit_below_any_worker_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(BatchError, match="--memory-limit"),
        pool(tmp_path, memory_limit_bytes=MB) as workers,
    ):
        workers.start()
    assert not workers_left()


def test_a_crash_is_retried_up_to_the_limit(tmp_path: Path) -> None:
    done = work(pool(tmp_path, retries=2), tmp_path, "abort-once", "abort", "after")
    assert (done["abort-once"].status, done["abort-once"].attempts) == ("done", 2)
    assert (done["abort"].status, done["abort"].attempts) == ("failed", 3)
    tries = Counter(line.split()[1] for line in (tmp_path / "diary").read_text().splitlines())
    assert tries == {"abort-once": 2, "abort": 3, "after": 1}


def test_a_worker_stopped_by_a_signal_does_not_fail_its_video(tmp_path: Path) -> None:
    done = work(pool(tmp_path), tmp_path, "stopped-once", "stopped")
    assert (done["stopped-once"].status, done["stopped-once"].attempts) == ("done", 2)
    assert (done["stopped"].status, done["stopped"].attempts) == ("failed", 4), "not for ever"


def test_workers_are_replaced_after_so_many_videos(tmp_path: Path) -> None:
    work(pool(tmp_path, recycle=2), tmp_path, *"abcde")
    processes = [(tmp_path / f"{name}.txt").read_text() for name in "abcde"]
    assert [processes.count(one) for one in dict.fromkeys(processes)] == [2, 2, 1]


def test_several_workers_share_the_work(tmp_path: Path) -> None:
    names = [f"slow-{i}" for i in range(24)]
    work(pool(tmp_path, workers=3), tmp_path, *names)
    processes = Counter((tmp_path / f"{name}.txt").read_text() for name in names)
    assert len(processes) == 3


def test_output_of_libraries_is_not_read_as_messages(tmp_path: Path) -> None:
    done = work(pool(tmp_path), tmp_path, "chatter", "after")
    assert [o.status for o in done.values()] == ["done", "done"]


def test_a_request_that_is_wrong_for_every_video_ends_the_batch(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be asked of any video"):
        work(pool(tmp_path), tmp_path, "refuse", "after")
    assert not (tmp_path / "after.txt").exists()
    assert not workers_left()


@pytest.mark.parametrize(
    ("make_executor", "error", "message"),
    [
        (fake_executors.refuse_to_start, UsageError, "there is no such model"),
        (fake_executors.break_at_start, BatchError, "RuntimeError: out of luck"),
        (fake_executors.crash_at_start, BatchError, "crashed \\(SIGABRT\\)"),
    ],
)
def test_workers_that_do_not_start_end_the_batch(
    make_executor: object, error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message), pool(tmp_path, make_executor) as workers:
        workers.start()
    assert not workers_left()


def test_a_model_that_changes_in_mid_run_ends_the_batch(tmp_path: Path) -> None:
    with pytest.raises(BatchError, match="changed during the batch"):
        work(pool(tmp_path, fake_executors.changing_executor, recycle=1), tmp_path, "a", "b")
    assert not workers_left()


def test_leaving_the_pool_ends_its_workers_at_once(tmp_path: Path) -> None:
    (tmp_path / "stuck.mp4").write_bytes(b"film")
    with pool(tmp_path) as workers:
        workers.start()
        outcomes = workers.run([Task(str(tmp_path / "stuck.mp4"), "stuck")], lambda s, n: None)
        threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            next(outcomes)
        began = time.monotonic()
    assert time.monotonic() - began < at_most(1.0)
    assert not workers_left()


def test_a_worker_processes_small_videos_side_by_side(tmp_path: Path) -> None:
    names = ["together-1", "together-2", "together-3"]  # each waits until all three have begun
    done = work(pool(tmp_path, fake_executors.make_side_by_side), tmp_path, *names)
    assert [outcome.status for outcome in done.values()] == ["done"] * 3
    assert len({(tmp_path / f"{name}.txt").read_text() for name in names}) == 1, "one process"


def test_large_videos_have_a_worker_to_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vtnstream.batch.identity._SMALL_BYTES", 3)
    done = work(pool(tmp_path, fake_executors.make_side_by_side), tmp_path, "a", "b", "c")
    assert list(done) == ["a", "b", "c"]
    assert (tmp_path / "most").read_text() == "1"


@pytest.mark.parametrize(
    ("deed", "code", "config"),
    [
        ("segfault", "crash", {}),
        ("quit", "crash", {}),
        ("stuck", "timeout", {"timeout": 2.0}),
        ("grow", "memory", {"memory_limit_bytes": 300 * MB}),
    ],
)
def test_what_happens_to_one_video_does_not_fail_those_beside_it(
    deed: str, code: str, config: dict[str, float], tmp_path: Path
) -> None:
    made = pool(tmp_path, fake_executors.make_side_by_side, **config)
    done = work(made, tmp_path, "slow-1", deed, "slow-2", "slow-3")
    assert (done[deed].status, done[deed].code) == ("failed", code)
    others = {name: outcome for name, outcome in done.items() if name != deed}
    assert [outcome.status for outcome in others.values()] == ["done"] * 3
    assert all(outcome.attempts == 1 for outcome in others.values())


def test_side_by_side_workers_are_replaced_after_so_many_videos(tmp_path: Path) -> None:
    names = [f"a{i}" for i in range(5)]
    work(pool(tmp_path, fake_executors.make_side_by_side, recycle=2), tmp_path, *names)
    processes = Counter((tmp_path / f"{name}.txt").read_text() for name in names)
    assert sorted(processes.values()) == [1, 2, 2]


ORPHANS = """
import os, signal, sys, threading, time
from functools import partial
from pathlib import Path
from tests.batch import fake_executors
from vtnstream.batch.workers.local import LocalPool
from vtnstream.batch.workers.outcome import Task
from vtnstream.config.batch import BatchConfig

folder = Path(sys.argv[1])
tasks = [Task(str(folder / f"{name}.mp4"), name) for name in ("stuck", "sleep")]
with LocalPool(partial(fake_executors.make_executor, folder), BatchConfig(workers=2)) as pool:
    pool.start()
    for outcome in pool.run(tasks, lambda share, note: None):
        pass
"""


def test_workers_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    for name in ("stuck", "sleep"):
        (tmp_path / f"{name}.mp4").write_bytes(b"film")
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHANS, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    diary = tmp_path / "diary"
    deadline = time.monotonic() + HANG
    while not diary.exists() or len(diary.read_text().splitlines()) < 2:
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.05)
    workers = [int(line.split()[0]) for line in diary.read_text().splitlines()]
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + HANG
    while any(_lives(pid) for pid in workers):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_threads_and_devices_of_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vtnstream.machine.num_cores", lambda: 9)
    assert pool(tmp_path, workers=4).threads == 2
    assert pool(tmp_path, workers=20).threads == 1
    monkeypatch.setattr("vtnstream.machine.memory_bytes", lambda: 8 * 2**30)
    assert pool(tmp_path, workers=None).num_workers == 2, "memory for two, cores for four"
    assert pool(tmp_path, workers=2).memory_limit == int(8 * 2**30 * 0.9 / 2)


def test_ends_are_described() -> None:
    assert describe_end(-signal.SIGFPE) == "crashed (SIGFPE)"
    assert describe_end(-signal.SIGTERM) == "was stopped (SIGTERM)"
    assert describe_end(1) == "exited (code 1)"


def test_workers_see_no_module_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(99)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    worker = WorkerProcess(
        partial(fake_executors.make_executor, tmp_path),
        slot=0,
        environment={},
        scratch=tmp_path / "scratch",
        events=events,
    )
    assert events.get(timeout=HANG).kind == "ready"
    worker.end()
    worker.reap()
