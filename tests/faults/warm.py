"""Commands in processes of their own that need not import torch each: a warm process forks
one for every command line. It has one thread, so that a fork of it is as good as new.

    python -m tests.faults.warm      reads a job a line, answers with its pid and its end
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from tests.faults.interposer import Plan

MOST_SECONDS = 100
"""After that a child is ended by SIGALRM: a test that hangs fails."""

_NEEDED = (
    *("av", "timm", "jinja2", "rich.console", "vtnstream.api", "vtnstream.report.page.render"),
    *("vtnstream.report.terminal", "vtnstream.report.writer", "vtnstream.models.checkpoint"),
    *("vtnstream.inference.encoder", "vtnstream.cli.main", "vtnstream.cli.group"),
    *("vtnstream.cli.commands.timeline", "vtnstream.cli.commands.extract"),
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command went. ``code`` is negative where a signal ended it."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("vtnstream: error: ")]

    @property
    def was_killed(self) -> bool:
        return self.code == -signal.SIGKILL


class WarmCommand:
    """``vtnstream`` as often as wanted, one at a time. A context manager.

    Args:
        folder: where standard output and error of the commands go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        root = str(Path(__file__).parents[2])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.warm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        )
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(MOST_SECONDS)
        self._process.stdout.close()

    def start(
        self,
        *arguments: str | Path,
        plan: Plan | None = None,
        environment: Mapping[str, str] | None = None,
        program: str = "",
    ) -> int:
        """Begin a command line and return its pid; :meth:`end` waits for it.

        Args:
            arguments: what stands after ``vtnstream``.
            plan: the fault to suffer.
            environment: variables to set.
            program: Python that runs in the child before the command.
        """
        assert self._process.stdin is not None
        job = {
            "arguments": [os.fspath(argument) for argument in arguments],
            "plan": None if plan is None else asdict(plan),
            "environment": dict(environment or {}),
            "program": program,
            "folder": str(self._folder),
        }
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return int(self._answer())

    def end(self) -> Ended:
        """Wait for the command that was begun."""
        code = int(self._answer())
        files = (self._folder / name for name in ("stdout", "stderr"))
        return Ended(code, *(file.read_text(errors="surrogateescape") for file in files))

    def run(self, *arguments: str | Path, **options: Any) -> Ended:
        """A command line from beginning to end."""
        self.start(*arguments, **options)
        return self.end()

    def run_for(self, seconds: float, *arguments: str | Path, **options: Any) -> Ended:
        """A command line that is killed after ``seconds``, unless it is through."""
        pid = self.start(*arguments, **options)
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return self.end()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the warm process has died")
        return line


def serve(jobs: Iterable[str]) -> None:
    """Fork a child for each job."""
    for name in _NEEDED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or the first collection in each child would copy every page
    for job in jobs:
        pid = os.fork()
        if pid == 0:
            _child(json.loads(job))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    os._exit(0)  # libraries have much to say at the end of an interpreter


def _child(job: dict[str, Any]) -> None:
    code = 70
    try:
        signal.alarm(MOST_SECONDS)
        folder = Path(job["folder"])
        new = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        files = ((os.devnull, os.O_RDONLY), (folder / "stdout", new), (folder / "stderr", new))
        for number, (path, flags) in enumerate(files):
            os.dup2(os.open(path, flags, 0o666), number)
        os.environ.update(job["environment"])
        exec(job["program"], {})
        if job["plan"] is not None:
            from tests.faults.interposer import Interposer

            Interposer(Plan.from_dict(job["plan"])).install()
        from vtnstream.cli.main import run

        sys.argv = ["vtnstream", *job["arguments"]]
        run()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.stdin)
