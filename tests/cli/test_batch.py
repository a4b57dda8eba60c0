"""``vtnstream batch`` from the command line: real workers, a real model."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.conftest import RATE, Outcome, frames
from tests.patience import HANG, at_most
from vtnstream.video.write import write_video

COMMAND = [sys.executable, "-m", "vtnstream"]
Run = Callable[..., Outcome]


@pytest.fixture
def videos(home: Path, video: Path, damaged: Path) -> list[str]:
    """Two complete videos of one name, a damaged one, and a file that is not a video."""
    for folder in ("a", "b"):
        Path(folder).mkdir()
        shutil.copy2(video, f"{folder}/film.mp4")
    with open("b/film.mp4", "ab") as file:
        file.write(bytes(8))  # another file with the same pictures
    shutil.copy2(damaged, "damaged.mp4")
    Path("broken.mp4").write_bytes(b"not a video" * 1000)
    return ["a/film.mp4", "b/film.mp4", "damaged.mp4", "broken.mp4"]


def lines(folder: str = "out") -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(Path(folder).glob("status*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def answers(folder: str) -> dict[str, Any]:
    """Return the reports in a folder without the facts of the run."""
    found = {}
    for path in Path(folder).glob("*.json"):
        if not path.name.startswith("."):
            report = json.loads(path.read_text())
            found[report["input"]] = {k: v for k, v in report.items() if k not in ("run", "video")}
    return found


def test_a_batch_from_first_run_to_reruns(run: Run, videos: list[str], model_folder: Path) -> None:
    batch = ["batch", "timeline", *videos, "missing.mp4", "-m", model_folder, "-o", "out"]
    done = run(*batch, "--jsonl")
    assert done.code == 1
    status = {line["input"]: line for line in lines()}
    assert {name: line["code"] for name, line in status.items()} == dict(
        zip([*videos, "missing.mp4"], ["ok", "ok", "partial", "open", "open"], strict=True)
    )
    assert status["damaged.mp4"]["partial"]["seconds_read"] < 40
    assert status["damaged.mp4"]["partial"]["reasons"]
    assert "broken.mp4: " in status["broken.mp4"]["error"]
    printed = [json.loads(line) for line in done.out.splitlines()]
    assert [{k: v for k, v in p.items() if k != "skipped"} for p in printed] == lines()
    assert "5 videos: 2 done, 1 partial, 2 failed" in done.err
    outputs = [name for line in lines() for name in line["outputs"]]
    assert len(set(outputs)) == 3
    assert all(Path("out", name).is_file() for name in outputs)
    stamps = {name: Path("out", name).stat().st_mtime_ns for name in outputs}

    again = run(*batch, "--jsonl")
    printed = [json.loads(line) for line in again.out.splitlines()]
    assert {p["input"]: p["skipped"] for p in printed} == {
        **dict.fromkeys(videos, True),
        "missing.mp4": False,  # nothing says that it is still the same
    }
    assert again.code == 1 and "(4 of them in an earlier run)" in again.err
    assert "--retry-failed" in again.err
    assert {name: Path("out", name).stat().st_mtime_ns for name in outputs} == stamps


def test_results_do_not_depend_on_order_or_number_of_workers(
    videos: list[str], model_folder: Path, run: Run
) -> None:
    """Results are bit-identical with the same number of threads per worker, and equal those of
    the commands for single videos."""
    videos.remove("broken.mp4")
    arguments = ["-m", model_folder, "--no-cache", "-q", "--threads", "1"]
    assert run("timeline", *videos, "-o", "one", *arguments).code == 3
    two = ["batch", "timeline", *reversed(videos), "-o", "two", "--workers", "2", *arguments]
    assert run(*two).code == 3
    assert len(answers("one")) == 3 and answers("two") == answers("one")
    assert any(report["segments"] for report in answers("one").values())

    assert run("extract", *videos, "-o", "features", *arguments).code == 3
    four = ["batch", "extract", *videos, "-o", "four", "--workers", "4", *arguments]
    assert run(*four).code == 3
    expected = {path.name: path.read_bytes() for path in Path("features").iterdir()}
    assert len(expected) == 3
    assert {p.name: p.read_bytes() for p in Path("four").glob("*.safetensors")} == expected


# -------------------------------------------------------------------------- surroundings

INSTEAD = """
import sys
import vtnstream.cli.options.batch
from tests.batch import fake_executors

vtnstream.cli.options.batch.make_analysis_executor = fake_executors.executor_of_command
from vtnstream.cli.main import run
sys.argv[0] = "vtnstream"
run()
"""
"""Runs the command with the executor of the tests, in which a video's name requests a fault."""


@pytest.fixture
def spawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a batch over videos with these names."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    started = []

    def spawn(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        names = [name for name in arguments if name.endswith(".mp4")]
        for name in names:
            Path(name).write_bytes(b"film")
        command = [sys.executable, "-c", INSTEAD, "batch", "timeline", *arguments]
        started.append(subprocess.Popen([*command, "-m", "any", "-o", "out"], **options))
        return started[-1]

    yield spawn
    for process in started:
        process.kill()
        process.communicate()


def workers(process: subprocess.Popen[bytes], number: int) -> list[psutil.Process]:
    """Wait until this number of workers runs, and return them."""
    deadline = time.monotonic() + HANG
    while time.monotonic() < deadline:
        assert process.poll() is None
        diary = Path("out/diary")
        found = diary.read_text().splitlines() if diary.exists() else []
        if len(found) == number:
            return [psutil.Process(int(line.split()[0])) for line in found]
        time.sleep(0.02)
    raise AssertionError("no worker began")


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_within_two_seconds(
    signum: int, code: int, spawn: Callable[..., subprocess.Popen[bytes]]
) -> None:
    process = spawn("stuck.mp4", "sleep.mp4", "--workers", "2", stderr=subprocess.PIPE)
    found = workers(process, 2)
    process.send_signal(signum)
    began = time.monotonic()
    _, err = process.communicate(timeout=HANG)
    assert time.monotonic() - began < at_most(2.0)
    assert process.returncode == code
    assert err.splitlines()[-1].startswith(b"vtnstream: interrupted: ") and b"Traceback" not in err
    assert not any(worker.is_running() for worker in found)
    assert lines() == []


def test_ctrl_c_of_the_terminal_reaches_the_parent_alone(
    spawn: Callable[..., subprocess.Popen[bytes]],
) -> None:
    """A worker in the parent's process group would be killed, and its video would count as
    crashed."""
    process = spawn("sleep.mp4", "-q", start_new_session=True)
    (worker,) = workers(process, 1)
    assert os.getpgid(worker.pid) != os.getpgid(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=HANG) == 130
    assert lines() == []


def test_no_worker_outlives_a_parent_that_is_killed(
    spawn: Callable[..., subprocess.Popen[bytes]],
) -> None:
    process = spawn("stuck.mp4", "sleep.mp4", "--workers", "2", "-q")
    found = workers(process, 2)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(found, timeout=HANG)
    assert not alive


@pytest.mark.parametrize("where", ["closed", "full"])
def test_an_unwritable_output_ends_the_batch(
    where: str, spawn: Callable[..., subprocess.Popen[bytes]]
) -> None:
    read, write = os.pipe()
    os.close(read)
    if where == "full":
        if not os.path.exists("/dev/full"):
            pytest.skip("no /dev/full here")
        os.close(write)
        write = os.open("/dev/full", os.O_WRONLY)
    process = spawn("a.mp4", "b.mp4", "--jsonl", "-q", stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    _, err = process.communicate(timeout=HANG)
    expected = {
        "closed": (141, b""),
        "full": (1, b"vtnstream: error: standard output: No space left on device\n"),
    }
    assert (process.returncode, err) == expected[where]
    assert len(lines()) == 1, "what was done is recorded"


def test_without_home_in_a_folder_that_is_read_only(
    spawn: Callable[..., subprocess.Popen[bytes]], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LC_ALL", "C")
    Path("out").mkdir()
    Path("a.mp4").write_bytes(b"film")
    Path.cwd().chmod(0o555)
    try:
        process = spawn("-q", ".", stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        _, err = process.communicate(timeout=HANG)
    finally:
        Path.cwd().chmod(0o755)
    assert (process.returncode, err) == (0, b"")
    assert [line["status"] for line in lines()] == ["done"]


def test_an_interrupted_batch_resumes_inside_a_video(model_folder: Path, run: Run) -> None:
    """With the real executor, stored features are not computed again."""
    write_video(Path("long.mp4"), frames(seconds=100), Fraction(RATE))
    arguments = ["batch", "extract", "long.mp4", "-m", str(model_folder), "-o", "out"]
    arguments += ["--sample", "all", "--batch-size", "4"]
    process = subprocess.Popen(
        [*COMMAND, *arguments, "--progress", "plain"], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + HANG
    while not (stored := list(Path(os.environ["XDG_CACHE_HOME"]).rglob("0*.safetensors"))):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=HANG)
    assert process.returncode == 130
    assert said.splitlines()[-1] == (
        "vtnstream: interrupted: 0 of 1 video complete and features so far are stored; "
        "run the same command to resume"
    )
    assert "done" not in said and "kept" not in said
    stamp = stored[0].stat().st_mtime_ns
    assert lines() == [] and not list(Path("out").glob("long*"))
    assert run(*arguments).code == 0
    assert stored[0].stat().st_mtime_ns == stamp
    one = ["extract", "long.mp4", "-m", str(model_folder), "-o", "one.safetensors", "--no-cache"]
    assert run(*one, "--sample", "all", "--batch-size", "4").code == 0
    assert Path("one.safetensors").read_bytes() == Path("out/long.mp4.safetensors").read_bytes()


def test_odd_names_on_standard_input_and_a_parent_without_torch(
    video: Path, model_folder: Path
) -> None:
    names = [b"-o.mp4", b"\xff.mp4", b"a\nb.mp4", b"x" * 251 + b".mp4"]
    for name in names:
        shutil.copy(video, name)
    arguments = ["batch", "classify", "-0", "-", "-m", str(model_folder), "-o", "out", "-q"]
    program = (
        "import sys\n"
        "from vtnstream.cli.main import main\n"
        f"code = main({arguments!r})\n"
        "loaded = {'torch', 'av', 'timm', 'transformers', 'ray'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {loaded}' if loaded else code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=b"\0".join(names),
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0"},
        capture_output=True,
        timeout=HANG,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert sorted(os.fsencode(line["input"]) for line in lines()) == sorted(names)
    outputs = {os.fsencode(name) for line in lines() for name in line["outputs"]}
    assert {b"-o.mp4.json", b"\xff.mp4.json", b"a_b.mp4.json"} < outputs and len(outputs) == 4
    assert outputs < set(os.listdir(b"out"))


def test_wrong_requests_are_one_line_and_code_two(run: Run, videos: list[str]) -> None:
    for arguments, message in (
        (["batch", "timeline", *videos, "-m", "nowhere/x", "-o", "out"], "nowhere/x"),
        (["batch", "timeline", *videos, "-m", "x"], "--output-dir"),
        (["batch", "extract", *videos, "-o", "out"], "no backbone"),
        (["batch", "timeline", *videos, "-m", "x", "-o", "out", "--shard", "3/2"], "shard 3 of 2"),
        (["batch", "timeline", *videos, "-m", "x", "-o", "out", "--workers", "0"], "workers"),
        (["batch", "timeline", *videos, "-m", "x", "-o", "out", "-f", "jsno"], "did you mean"),
        (
            ["batch", "timeline", *videos, "-m", "x", "-o", "out", "--timeout", "9f"],
            "not a duration",
        ),
    ):
        done = run(*arguments)
        assert done.code == 2, done.err
        assert len(done.errors) == 1 and message in done.errors[0], done.err
    assert lines() == []


def test_settings_of_the_single_command_hold_for_the_batch(
    spawn: Callable[..., subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("vtnstream.toml").write_text(
        "[timeline]\nwindow = 8\nstride = 4\n[batch.timeline]\nstride = 2\n"
    )
    monkeypatch.setenv("VTNSTREAM_TIMELINE_SMOOTHING", "median")
    assert spawn("a.mp4", "-q").wait(timeout=HANG) == 0
    settings = Path("out/settings").read_text()
    assert "window=8" in settings and "stride=2" in settings and "smoothing='median'" in settings


@pytest.mark.parametrize("command", ["classify", "timeline", "extract"])
def test_options_of_single_commands_are_options_of_batches(command: str, run: Run) -> None:
    single, batch = (
        set(re.findall(r"--[a-z][a-z-]+", run(*prefix, command, "--help").out.split("Examples")[0]))
        for prefix in ((), ("batch",))
    )
    of_labels = {"--labels", "--multi-label", "--backbone", "--backbone-arg", "--weights"}
    of_labels |= {"--pretrained"} if command != "extract" else set()
    live = {"--follow", "--follow-timeout", "--keep"}
    assert single - batch <= {"--json", "--output", "--features", *of_labels, *live}
    for flag in (["--follow"], ["--labels", "a; b"]) if command == "timeline" else ():
        outcome = run("batch", command, "film.mp4", "-o", "out", *flag)
        assert outcome.code == 2 and len(outcome.errors) == 1 and flag[0] in outcome.errors[0]


@pytest.mark.slow
def test_formats_that_cannot_hold_a_result_do_not_keep_it_from_being_complete(
    run: Run, home: Path, video: Path, model_folder: Path
) -> None:
    """Two tracks overlap, which a third of the formats refuse."""
    shutil.copy2(video, "film.mp4")
    batch = ["batch", "timeline", "film.mp4", "-m", model_folder, "-o", "out", "-f", "all"]
    done = run(*batch, "--localize", "both")
    assert done.code == 0, done
    (line,) = lines()
    assert (line["status"], line["code"]) == ("done", "ok")
    assert "film.mp4.json" in line["outputs"] and "film.mp4.mstcn.txt" not in line["outputs"]
    again = run(*batch, "--localize", "both", "--jsonl")
    assert again.code == 0
    assert json.loads(again.out)["skipped"] is True
    assert len(lines()) == 1
    # Named one by one, a format that cannot hold the result is a failure, and stays one.
    for _ in range(2):
        done = run(*batch[:-1], "json,mstcn", "--localize", "both")
        assert done.code == 1
    assert [line["code"] for line in lines()] == ["ok", "format"]
