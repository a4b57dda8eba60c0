"""What a command tells the shell."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command; ``FAILED`` goes before ``PARTIAL``."""

    OK = 0
    FAILED = 1
    """Some input failed."""
    USAGE = 2
    """The request itself is wrong: nothing was done, or nothing could be."""
    PARTIAL = 3
    """Everything was done, but some result is incomplete (a damaged file)."""
    INTERRUPTED = 130
    """Ctrl-C; what was read so far is kept and the same command resumes."""
    CLOSED_PIPE = 141
    """Whoever read our output has left (``| head -1``); as other programs do, in silence."""
