"""Behaviour of a real process: imports, signals, pipes, closed streams."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import HANG

COMMAND = [sys.executable, "-m", "vtnstream"]
HEAVY = ("torch", "av", "timm", "transformers", "numpy", "rich", "safetensors")


def vtnstream(*arguments: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, timeout=HANG, **options)  # type: ignore[call-overload, no-any-return]


EACH_ALONE = """
import importlib, os, pkgutil
import av, timm, torch, torchvision, vtnstream

found = pkgutil.walk_packages(vtnstream.__path__, "vtnstream.", onerror=print)
for name in sorted(module.name for module in found if not module.name.endswith("__main__")):
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(name)
        except BaseException as error:
            print(name, error, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.slow
def test_every_module_can_be_imported_first() -> None:
    done = subprocess.run([sys.executable, "-c", EACH_ALONE], capture_output=True, timeout=1200)
    assert done.returncode == 0 and not done.stdout, done


@pytest.mark.parametrize("arguments", [[], ["timeline"], ["extract"], ["cache", "prune"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from vtnstream.cli.main import main\n"
        f"code = main({[*arguments, '--help']!r})\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(f'loaded: {loaded}' if loaded or code else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=HANG)
    assert done.returncode == 0, done.stderr
    assert b"Usage: vtnstream" in done.stdout


def test_help_costs_little() -> None:
    """The budget is 0.15 s of processor time beyond bare Python, in the best of three runs."""

    def cost(arguments: list[str]) -> float:
        best = float("inf")
        for _ in range(3):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            best = min(best, spent)
        return best

    assert cost(["-m", "vtnstream", "--help"]) - cost(["-c", "pass"]) < 0.15


def test_importing_the_package_is_light_and_its_names_are_functions() -> None:
    program = (
        "import sys, vtnstream\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
        "assert {'timeline', 'classify', 'train'} <= set(dir(vtnstream))\n"
        "import vtnstream.config.timeline, vtnstream.api\n"
        "assert callable(vtnstream.timeline) and callable(vtnstream.classify)\n"
        "assert callable(vtnstream.create_model) and callable(vtnstream.extract)\n"
        "assert vtnstream.__version__[0].isdigit()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=HANG)
    assert done.returncode == 0, done.stderr


INTERRUPTED = """
import os, signal, sys, threading, time
from vtnstream.cli.main import run

def interrupt():
    time.sleep({delay})
    os.kill(os.getpid(), signal.{name})

threading.Thread(target=interrupt, daemon=True).start()
sys.argv = ["vtnstream", "models", "show", "vtn-vit-b"]
run()
"""


@pytest.mark.parametrize("delay", [0.05, 0.15, 0.3, 0.6])
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_interrupts_during_imports_end_quietly(delay: float, name: str, code: int) -> None:
    program = INTERRUPTED.format(delay=delay, name=name)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=HANG)
    assert (done.returncode, done.stdout) == (code, b""), done.stderr
    # Before the console stands there is no line; from then on there is one.
    assert done.stderr == b"" or done.stderr.startswith(b"vtnstream: interrupted")
    assert done.stderr.count(b"\n") <= 1


INTERRUPTED_WHILE_PARSING = """
import os, signal, sys
from vtnstream.cli.framework.group import cli
from vtnstream.cli.main import run

def interrupt(*arguments):
    os.kill(os.getpid(), signal.SIGINT)

cli.parse_args = interrupt
sys.argv = ["vtnstream", "models", "list"]
run()
"""


def test_interrupt_while_options_are_parsed_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHILE_PARSING], capture_output=True, timeout=HANG
    )
    assert (done.returncode, done.stdout) == (130, b"")
    assert done.stderr == b"vtnstream: interrupted\n"


def test_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    read, write = os.pipe()
    process = subprocess.Popen(
        [*COMMAND, "models", "list"], stdout=write, stderr=subprocess.PIPE, cwd=tmp_path
    )
    os.close(write)
    os.close(read)  # nobody listens from the start
    _, err = process.communicate(timeout=HANG)
    assert process.returncode == 141
    assert err == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_full_disk_is_one_line() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, "cache", "list", "--json"], stdout=full, stderr=subprocess.PIPE, timeout=HANG
        )
    assert done.returncode == 1
    assert done.stderr == b"vtnstream: error: standard output: No space left on device\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(closed: str) -> None:
    line = f'"$0" -m vtnstream cache list --json {closed}'
    done = subprocess.run(["sh", "-c", line, sys.executable], capture_output=True, timeout=HANG)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr and b"ignored" not in done.stderr


def test_names_that_are_not_utf8_survive_every_locale(tmp_path: Path) -> None:
    name = b"\xff film.mp4"
    for language in ("C", "C.UTF-8", "POSIX"):
        environment = {**os.environ, "LC_ALL": language, "PYTHONUTF8": "0"}
        done = vtnstream("doctor", os.fsdecode(name), env=environment, cwd=tmp_path)
        assert done.returncode == 2
        assert b"Traceback" not in done.stderr
        assert b"\\udcff film.mp4" in done.stderr


RUN = """
import atexit, sys
from vtnstream.cli import main

def command(arguments):
    import {library}
    atexit.register(print, "handler")
    print("output", end="")
    return 7

main.main = command
main.run()
"""


@pytest.mark.parametrize("library", ["torch", "json"])
def test_the_end_of_a_process(library: str) -> None:
    """Exit handlers run, output is complete and the code is the command's; destructors of torch's
    libraries are not waited for."""
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(library=library)], capture_output=True, timeout=HANG
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, b"outputhandler\n", b"")
