"""Contenders that need no library, for tests of their processes."""

from __future__ import annotations

import os
import time


class Patient:
    """A contender that remembers its arguments, in a process of its own."""

    def __init__(self, start: int = 0) -> None:
        self.total = start
        self.held = b""

    def add(self, number: int) -> int:
        print("this library talks")
        self.total += number
        return self.total

    def pid(self) -> int:
        return os.getpid()

    def environment(self, name: str) -> str | None:
        return os.environ.get(name)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def work(self, seconds: float) -> None:
        began = time.process_time()
        while time.process_time() - began < seconds:
            pass

    def hold(self, megabytes: int) -> None:
        self.held = b"x" * (megabytes * 2**20)

    def release_much(self, megabytes: int) -> None:
        """Allocate memory and free it before returning."""
        len(b"x" * (megabytes * 2**20))

    def fail(self) -> None:
        raise ValueError("this video\nis too short")

    def die(self) -> None:
        os.write(2, b"Fatal: out of luck\n")
        os._exit(7)
