"""Signals, closed and full streams, missing homes and odd locales, around commands at work."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.tally import Cases
from tests.faults.work import KINDS, TOKENS, Place, Work
from tests.patience import HANG, at_most

SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143}


def interrupted(place: Place, signum: int) -> tuple[int, str, float]:
    """Code, messages and seconds to its end of a command that gets a signal once it has stored
    a chunk."""
    pid = place.start()
    while not place.chunks():
        time.sleep(0.002)
    began = time.monotonic()
    os.kill(pid, signum)
    ended = place.work.warm.end(pid)
    return ended.code, ended.err, time.monotonic() - began


def test_signals_end_a_command_soon_and_it_resumes(work: Work, cases: Cases) -> None:
    for kind in KINDS:
        for signum, code in SIGNALS.items():
            with (
                cases("interrupted", f"{kind} {signum!r}"),
                work.place(kind) as place,
            ):
                slow = replace(place, more=("--batch-size", "1"))  # time enough for the signal
                found, err, seconds = interrupted(slow, signum)
                assert found == code, err
                assert err.startswith("vtnstream: interrupted: ") and err.count("\n") == 1
                assert seconds < at_most(2)
                stored = len(place.chunks())
                assert stored and not list(place.cache.rglob("*.tmp"))
                again = slow.run()
                assert (again.code, again.errors) == (0, [])
                assert slow.frames_encoded() < TOKENS


REDIRECTED = "import os; os.dup2(os.open({path!r}, os.O_WRONLY), {number})"


def test_a_reader_that_leaves_after_the_first_line(work: Work, cases: Cases) -> None:
    with cases("output nobody reads", "| head -1"), work.place("timeline") as place:
        pipe = place.folder / "pipe"
        os.mkfifo(pipe)
        lines: list[str] = []

        def read() -> None:
            with open(pipe, encoding="utf-8") as file:
                lines.append(file.readline())

        reader = threading.Thread(target=read)
        reader.start()
        videos = [place.folder / f"{number}.mp4" for number in range(3)]
        for video in videos:
            os.link(work.video, video)
        ended = work.warm.run(
            *("timeline", *videos, "-m", work.model, "--jsonl", "--progress", "none", "-q"),
            *("--cache-dir", place.cache, "--fps", "0.5"),
            program=REDIRECTED.format(path=str(pipe), number=1),
        )
        reader.join(HANG)
        assert lines and '"start"' in lines[0]
        assert (ended.code, ended.err) == (141, ""), ended


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_full_streams(work: Work, cases: Cases) -> None:
    full = "vtnstream: error: standard output: No space left on device\n"
    for number, form, code, err in (
        (1, "--json", 1, full),
        (1, "--jsonl", 1, full),
        (1, "-q", 1, full),
        (2, "--json", 0, ""),
    ):
        with cases("full stream", f"{number} {form}"), work.place("timeline") as place:
            ended = work.warm.run(
                *("timeline", work.video, "-m", work.model, form, "--progress", "none"),
                *("--cache-dir", place.cache, "--fps", "0.5"),
                program=REDIRECTED.format(path="/dev/full", number=number),
            )
            assert (ended.code, ended.err) == (code, err), ended


USUAL = {"HOME": "{home}", "PATH": os.environ.get("PATH", ""), "PYTHONPATH": "{root}"}
SURROUNDINGS: dict[str, tuple[str, dict[str, str | None]]] = {
    "closed stdin": ("<&-", {}),
    "all streams closed": ("<&- >&- 2>&-", {}),
    "no HOME": ("", {"HOME": None}),
    "LANG=C": ("", {"LC_ALL": "C", "PYTHONUTF8": "0"}),
    "a locale that is not there": ("", {"LC_ALL": "xx_XX.UTF-8", "LANGUAGE": "xx"}),
    "TERM=dumb": ("", {"TERM": "dumb"}),
    "a width of nothing": ("", {"COLUMNS": "0", "LINES": "0"}),
    "no TMPDIR": ("", {"TMPDIR": "/nonexistent"}),
}


def run_in(work: Work, folder: Path, streams: str, variables: dict[str, str | None]) -> Path:
    """The command as a process of its own, in a working directory that nobody can write to."""
    root = str(Path(__file__).parents[2])
    usual = {k: v.format(home=folder, root=root) for k, v in USUAL.items()} | variables
    environment = {k: v for k, v in usual.items() if v is not None}
    command = ["timeline", work.video, "-m", work.model, "-o", folder / "out", "--fps", "0.5"]
    command += ["--cache-dir", folder / "cache", "-q"]
    done = subprocess.run(
        ["sh", "-c", f'"$@" {streams}', "sh", sys.executable, "-m", "vtnstream", *command],
        env=environment | {"OMP_NUM_THREADS": "1"},
        cwd="/proc",
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done
    assert done.stderr == b"", done
    return folder / "out" / f"{work.video.name}.json"


@pytest.mark.slow
def test_surroundings(work: Work, cases: Cases, tmp_path: Path) -> None:
    for number, (name, (streams, variables)) in enumerate(SURROUNDINGS.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        with cases("odd surroundings", name):
            assert run_in(work, folder, streams, variables).is_file()


@pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become another user"
)
def test_a_user_without_a_home(work: Work, cases: Cases) -> None:
    """As in a container that runs with a number for a user."""
    become = "import os; os.environ.pop('HOME', 0); os.environ.pop('XDG_CACHE_HOME', 0); "
    become += "os.environ.pop('XDG_CONFIG_HOME', 0); os.setgroups([]); os.setuid(54321)"
    with (
        cases("odd surroundings", "a user without a home"),
        tempfile.TemporaryDirectory() as place,  # pytest's own folders are for its user alone
    ):
        os.chmod(place, 0o777)
        video, model = shutil.copy(work.video, place), shutil.copytree(work.model, f"{place}/model")
        command = ["timeline", video, "-m", model, "--fps", "0.5", "--json"]
        ended = work.warm.run(*command, program=become)
        assert ended.code == 2 and len(ended.errors) == 1, ended
        assert "--cache-dir" in ended.errors[0]
        ended = work.warm.run(*command, "--cache-dir", f"{place}/cache", program=become)
        assert (ended.code, ended.errors) == (0, []), ended
