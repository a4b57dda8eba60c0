"""Commands in processes of their own that need not import torch each: a warm process forks
one for every command line. It has one thread, so that a fork of it is as good as new.

    python -m tests.faults.warm      reads a job a line and answers with its pid; reads a pid,
                                     and answers with its end
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
from tests.patience import HANG
from vtnstream.models.torch_internals.lazy_compiler import enable, import_light

MOST_SECONDS = HANG
"""Until a command that hangs is ended."""

_NEEDED = (
    *("av", "jinja2", "rich.console", "vtnstream.api", "vtnstream.report.page.render"),
    *(
        "vtnstream.report.terminal.render",
        "vtnstream.report.writer",
        "vtnstream.models.io.checkpoint",
    ),
    *("vtnstream.encoding.encoder", "vtnstream.cli.main", "vtnstream.cli.framework.group"),
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
    """``vtnstream`` as often as wanted. A context manager.

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
        seconds: int = MOST_SECONDS,
    ) -> int:
        """Begin a command line and return its pid; :meth:`end` waits for it.

        Args:
            arguments: what stands after ``vtnstream``.
            plan: the fault to suffer.
            environment: variables to set.
            program: Python that runs in the child before the command.
            seconds: until a child that hangs is ended by SIGALRM.
        """
        job = {
            "arguments": [os.fspath(argument) for argument in arguments],
            "plan": None if plan is None else asdict(plan),
            "environment": dict(environment or {}),
            "program": program,
            "seconds": seconds,
            "folder": str(self._folder),
        }
        return self._ask(job)

    def end(self, pid: int) -> Ended:
        """Wait for a command that was begun."""
        code = self._ask(pid)
        texts = []
        for name in ("stdout", "stderr"):
            file = self._folder / f"{name}-{pid}"
            texts.append(file.read_text(errors="surrogateescape"))
            file.unlink()
        return Ended(code, *texts)

    def run(self, *arguments: str | Path, **options: Any) -> Ended:
        """A command line from beginning to end."""
        return self.end(self.start(*arguments, **options))

    def run_for(self, seconds: float, *arguments: str | Path, **options: Any) -> Ended:
        """A command line that is killed after ``seconds``, unless it is through."""
        pid = self.start(*arguments, **options)
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)  # nobody has waited for it: the pid is still its own
        return self.end(pid)

    def _ask(self, request: Any) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the warm process has died")
        return int(line)


def serve(requests: Iterable[str]) -> None:
    """Fork a child for each job, and wait for those that are asked for."""
    enable()  # as commands do
    import_light("timm")
    for name in _NEEDED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or the first collection in each child would copy every page
    for line in requests:
        request = json.loads(line)
        if isinstance(request, int):
            answer = os.waitstatus_to_exitcode(os.waitpid(request, 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                _child(request)
        print(answer, flush=True)
    os._exit(0)  # libraries have much to say at the end of an interpreter


def _child(job: dict[str, Any]) -> None:
    code = 70
    try:
        signal.alarm(job["seconds"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in ((1, "stdout"), (2, "stderr")):
            path = Path(job["folder"], f"{name}-{os.getpid()}")
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666), number)
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
