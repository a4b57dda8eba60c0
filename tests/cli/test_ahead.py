"""Small videos are processed ahead in threads; results come in order, as without threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.patience import HANG
from vtnstream.cli.ahead import Ahead
from vtnstream.cli.options.input_list import Input
from vtnstream.progress import NullProgress, Progress


class Display(NullProgress):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def start(self, what: str, *, total: float | None, unit: str) -> None:
        self.seen.append(f"start {what}")

    def finish(self) -> None:
        self.seen.append("finish")

    def warn(self, message: str) -> None:
        self.seen.append(message)


@pytest.fixture
def files(tmp_path: Path) -> list[Input]:
    for number in range(6):
        (tmp_path / f"{number}.mp4").write_bytes(b"x" * (number + 1))
    return [Input(str(tmp_path / f"{number}.mp4")) for number in range(6)]


def name(path: str) -> str:
    return Path(path).stem


def collected(function: Callable[[str, Progress], str], inputs: list[Input]) -> list[str]:
    display = Display()
    with Ahead(function, inputs) as ahead:
        found = [ahead.result(item.path, display) for item in inputs if item.error is None]
    return found + display.seen


def test_results_come_in_order_although_later_ones_are_ready(files: list[Input]) -> None:
    third_is_done = threading.Event()

    def work(path: str, progress: Progress) -> str:
        progress.start(name(path), total=1, unit="frames")
        progress.warn(f"warning of {name(path)}")
        if name(path) == "0":
            assert third_is_done.wait(HANG), "videos are processed one after the other"
        if name(path) == "2":
            third_is_done.set()
        return name(path)

    found = collected(work, [files[0], Input("absent", "no such file"), *files[1:]])
    assert found[:6] == list("012345")
    warnings = [line for line in found if line.startswith("warning")]
    assert warnings == [f"warning of {n}" for n in "012345"], "each in its turn"
    assert found.count("finish") == sum(line.startswith("start") for line in found)


def test_a_large_video_is_processed_alone(
    files: list[Input], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vtnstream.batch.identity._SMALL_BYTES", 3)
    running: set[str] = set()
    main = threading.current_thread()

    def work(path: str, progress: Progress) -> str:
        running.add(path)
        if name(path) in "345":
            assert threading.current_thread() is main and running == {path}
        else:
            assert threading.current_thread() is not main
        running.discard(path)
        return name(path)

    assert collected(work, [files[4], *files[:3], files[3], files[5]]) == list("401235")


@pytest.mark.parametrize("error", [ValueError("bad"), TimeoutError("the server is slow")])
def test_an_error_is_raised_in_its_turn(files: list[Input], error: Exception) -> None:
    def work(path: str, progress: Progress) -> str:
        if name(path) == "1":
            raise error
        return name(path)

    with Ahead(work, files) as ahead:
        assert ahead.result(files[0].path, NullProgress()) == "0"
        with pytest.raises(type(error), match=str(error)):
            ahead.result(files[1].path, NullProgress())
        assert ahead.result(files[2].path, NullProgress()) == "2"


def test_leaving_stops_what_is_under_way(files: list[Input]) -> None:
    begun, ended = threading.Semaphore(0), []

    def work(path: str, progress: Progress) -> str:
        begun.release()
        if name(path) == "0":
            return name(path)
        try:
            while True:
                progress.advance(1)
        except KeyboardInterrupt:
            ended.append(path)
            raise

    with pytest.raises(ZeroDivisionError), Ahead(work, files[:3]) as ahead:
        ahead.result(files[0].path, NullProgress())
        for _ in range(3):
            assert begun.acquire(timeout=HANG)
        raise ZeroDivisionError
    assert sorted(map(name, ended)) == ["1", "2"]


def test_one_video_uses_no_thread(files: list[Input]) -> None:
    main = threading.current_thread()

    def work(path: str, progress: Progress) -> str:
        assert threading.current_thread() is main
        return name(path)

    with Ahead(work, files[:1]) as ahead:
        assert not ahead.is_used and ahead.result(files[0].path, NullProgress()) == "0"
