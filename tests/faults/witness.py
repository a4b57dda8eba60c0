"""Sees what hostile input must not achieve: a canary that is opened, a connection to this
machine, a program that is started, a file that appears or changes outside the output folder.

The kernel reports openings (inotify) and connections (listening sockets), so native code is
seen as well as Python; what Python itself does, a hook in the child writes down.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_IN_ACCESS, _IN_OPEN = 0x1, 0x20

AUDIT = """
import os, sys
_told = os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
_events = ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec",
           "os.posix_spawn", "pty.spawn", "webbrowser.open", "ctypes.dlopen", "os.chmod",
           "os.symlink", "os.link", "shutil.move")
def _hook(event, arguments):
    if event in _events:
        os.write(_told, (event + " " + repr(arguments) + "\\n").encode(errors="replace"))
sys.addaudithook(_hook)
"""
_HARMLESS = (
    "ctypes.dlopen ('libc.so.6',",
    "ctypes.dlopen (None,",
    "subprocess.Popen ('uname', ['uname', '-p'],",  # platform.processor()
)


@dataclass
class Witness:
    """What was there before, and where to look afterwards.

    Attributes:
        folder: everything the case lives in.
        canary: a video nothing may open.
        tcp, udp: ports of this machine nothing may talk to.
        program: to run in the child first.
    """

    folder: Path
    canary: Path
    tcp: int
    udp: int
    program: str
    _log: Path
    _inotify: int
    _sockets: list[socket.socket]
    _before: dict[str, tuple[int, int]] = field(default_factory=dict)

    def begin(self) -> None:
        """The case lies ready: what happens from here on counts."""
        self.was_opened()
        self._log.unlink(missing_ok=True)
        self._before = _snapshot(self.folder)

    def was_opened(self) -> bool:
        ready, _, _ = select.select([self._inotify], [], [], 0)
        return bool(ready) and bool(os.read(self._inotify, 65536))

    def was_called(self) -> bool:
        ready, _, _ = select.select(self._sockets, [], [], 0.02)
        return bool(ready)

    def deeds(self) -> list[str]:
        """Connections and programs of Python code."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [line for line in lines if not line.startswith(_HARMLESS)]

    def changed(self, *allowed: Path) -> list[str]:
        """Files that appeared or changed outside the ``allowed`` folders."""
        inside = tuple(f"{path}{os.sep}" for path in allowed)
        now = _snapshot(self.folder)
        names = {name for name in now.keys() | self._before.keys() if not name.startswith(inside)}
        names -= {str(path) for path in (*allowed, self._log)}
        return sorted(name for name in names if now.get(name) != self._before.get(name))

    def assert_nothing_happened(self, *allowed: Path) -> None:
        assert not self.was_opened(), "the canary was opened"
        assert not self.was_called(), "somebody called"
        assert self.deeds() == []
        assert self.changed(*allowed) == []


@contextmanager
def witness(folder: Path, canary: Path) -> Iterator[Witness]:
    """Watch while the context lasts, from :meth:`Witness.begin` on."""
    log = folder / "audit.log"
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        datagrams = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        datagrams.bind(("127.0.0.1", 0))
        inotify = _watch(canary)
        stack.callback(os.close, inotify)
        yield Witness(
            folder,
            canary,
            listening.getsockname()[1],
            datagrams.getsockname()[1],
            AUDIT.format(log=str(log)),
            log,
            inotify,
            [listening, datagrams],
        )


def _watch(path: Path) -> int:
    """A descriptor that becomes readable when somebody opens or reads ``path``."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = int(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    mask = _IN_ACCESS | _IN_OPEN
    if descriptor < 0 or libc.inotify_add_watch(descriptor, os.fsencode(path), mask) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return descriptor


def _snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for path in folder.rglob("*"):
        state = path.lstat()
        found[str(path)] = (state.st_size, 0 if path.is_dir() else state.st_mtime_ns)
    return found
