"""The queue: order, cancelling, and what a restart does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.patience import HANG
from vtnstream.batch.workers.outcome import Outcome
from vtnstream.studio.correcting.exporting import Annotated
from vtnstream.studio.correcting.timeline import EditedSegment
from vtnstream.studio.database import Database
from vtnstream.studio.jobs.queue import JobQueue
from vtnstream.studio.jobs.runner import JobRunner, Work, summary_of
from vtnstream.studio.jobs.teaching import (
    TrainRequest,
    agreement,
    splits,
    training_plan,
    write_annotations,
)
from vtnstream.studio.problems import InvalidProblem, NotFoundProblem


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path)
    yield opened
    opened.close()


def states(queue: JobQueue) -> list[str]:
    return [job.state for job in reversed(queue.recent())]


def wait_until(condition: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(1000):
        if condition():
            return
        tick.wait(0.02)
    raise AssertionError("it did not happen")


def test_jobs_run_in_order_and_failures_are_said(database: Database) -> None:
    queue, done = JobQueue(database), list[Any]()

    def handle(work: Work) -> dict[str, Any]:
        done.append(work.job.request["n"])
        work.progress(0.5, "half")
        if work.job.request["n"] == 2:
            raise NotFoundProblem("gone")
        return {"note": "made", "x": 1}

    for number in (1, 2, 3):
        queue.submit("kind", {"n": number})
    runner = JobRunner(queue, {"kind": handle})
    runner.start()
    wait_until(lambda: states(queue) == ["done", "failed", "done"])
    runner.stop()
    assert done == [1, 2, 3]
    first, second = queue.find(1), queue.find(2)
    assert (first.share, first.note, first.outcome) == (1.0, "made", {"x": 1})
    assert (second.share, second.note) == (0.5, "gone")
    with pytest.raises(InvalidProblem, match="ended already"):
        queue.cancel(1)
    with pytest.raises(NotFoundProblem):
        queue.find(9)


def test_cancel_what_waits_and_what_runs(database: Database) -> None:
    queue, started = JobQueue(database), threading.Event()

    def handle(work: Work) -> dict[str, Any]:
        started.set()
        while True:
            work.check()
            threading.Event().wait(0.01)

    queue.submit("kind", {})
    queue.submit("kind", {})
    assert queue.cancel(2).state == "cancelled"
    runner = JobRunner(queue, {"kind": handle})
    runner.start()
    started.wait(HANG)
    queue.cancel(1)
    wait_until(lambda: states(queue) == ["cancelled", "cancelled"])
    assert queue.cancel(1).state == "cancelled"
    runner.stop()


def test_a_stop_puts_the_job_back_and_a_kill_is_recovered(database: Database) -> None:
    queue, started = JobQueue(database), threading.Event()

    def handle(work: Work) -> dict[str, Any]:
        started.set()
        while True:
            work.check()
            threading.Event().wait(0.01)

    queue.submit("kind", {"n": 1})
    runner = JobRunner(queue, {"kind": handle})
    runner.start()
    started.wait(HANG)
    runner.stop()
    assert states(queue) == ["queued"]
    for _ in range(3):  # each time the server is killed while the job runs
        assert states(queue) == ["queued"]
        assert queue.claim(0, ["kind"]) is not None
        JobQueue(database).recover(["kind"])
    assert states(queue) == ["failed"] and "several times" in queue.find(1).note


def test_some_failed_videos_do_not_fail_the_job() -> None:
    good = Outcome("a.mp4", "done", "ok", outputs={"a.mp4.json": 1})
    bad = Outcome.failure("b.mp4", "open", "b.mp4: not a video")
    assert summary_of([good, bad])["note"] == "1 video done, 1 failed"
    assert summary_of([good, bad])["failed"] == ["b.mp4: not a video"]
    with pytest.raises(Exception, match=r"b\.mp4: not a video \(and 1 more\)"):
        summary_of([bad, bad])


def annotated(count: int) -> list[Annotated]:
    segments = (EditedSegment("m0", 0.0, 5.0, "a"), EditedSegment("m1", 5.0, 10.0, "b"))
    return [Annotated(f"id{k}", Path(f"/v/{k}.mp4"), segments, False) for k in range(count)]


def test_held_out_videos_are_a_stable_quarter() -> None:
    assert set(splits(annotated(2)).values()) == {"train"}
    chosen = splits(annotated(8))
    assert sorted(chosen.values()).count("test") == 2
    assert splits(annotated(8)[::-1]) == chosen


def labelled(name: str, *labels: str) -> Annotated:
    segments = tuple(EditedSegment(f"m{k}", k, k + 1, label) for k, label in enumerate(labels))
    return Annotated(name, Path(f"/v/{name}.mp4"), segments, False)


def test_videos_with_labels_of_their_own_are_not_held_out() -> None:
    for rare in range(4):  # whichever video has it
        videos = [labelled(f"id{k}", "a", *(("rare",) if k == rare else ())) for k in range(4)]
        chosen = splits(videos)
        assert list(chosen.values()).count("test") == 1 and chosen[f"id{rare}"] == "train"
        assert all(not one.unseen for one in training_plan(videos).held_out)


def test_labels_that_no_training_video_has_are_named() -> None:
    plan = training_plan([labelled(f"id{k}", "a", f"own {k}") for k in range(4)])
    (held,) = plan.held_out
    assert plan.videos == 4 and held.unseen == (f"own {held.id[2:]}",)
    assert training_plan([labelled("id0", "a")]).held_out == ()


def test_annotations_for_training(tmp_path: Path) -> None:
    write_annotations(annotated(3), tmp_path / "new" / "a.csv")
    lines = (tmp_path / "new" / "a.csv").read_text().splitlines()
    assert lines[0] == "path,start,end,label,split" and len(lines) == 7
    assert sum(line.endswith(",test") for line in lines) == 2
    with pytest.raises(InvalidProblem, match="nothing to learn from"):
        write_annotations([], tmp_path / "b.csv")


def test_agreement_counts_time() -> None:
    truth = annotated(1)[0].segments
    assert agreement(truth, truth) == 100.0
    wrong = (EditedSegment("x", 0.0, 10.0, "a"),)
    assert agreement(wrong, truth) == pytest.approx(50.0)
    assert agreement((), truth) == 0.0


@pytest.mark.parametrize(
    "request_",
    [
        TrainRequest("../up"),
        TrainRequest(""),
        TrainRequest(".hidden"),
        TrainRequest("a/b"),
        TrainRequest("x", backbone="--output=/etc"),
        TrainRequest("x", backbone="a b"),
        TrainRequest("x", epochs=0),
        TrainRequest("x", fps=-1.0),
    ],
)
def test_training_requests_that_are_refused(request_: TrainRequest) -> None:
    with pytest.raises(InvalidProblem):
        request_.check()
