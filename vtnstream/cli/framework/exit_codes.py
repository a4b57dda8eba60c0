"""Exit codes."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command; ``FAILED`` takes precedence over ``PARTIAL``."""

    OK = 0
    FAILED = 1
    """Some input failed."""
    USAGE = 2
    """The request is wrong; nothing was done."""
    PARTIAL = 3
    """All inputs were processed, but some result is incomplete (a damaged file)."""
    INTERRUPTED = 130
    """Ctrl-C; features computed so far are stored, and the same command resumes."""
    CLOSED_PIPE = 141
    """The reader of standard output has closed it (``| head -1``). No message is printed, as with
    other programs."""
