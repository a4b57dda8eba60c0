"""Standard input: a list of names, or a video."""

from __future__ import annotations

import re
import sys

_CONTROL = re.compile(rb"[\x01-\x08\x0e-\x1f]")


def peek_standard_input() -> bytes:
    """What comes first on standard input, left there; waits for it."""
    peek = getattr(sys.stdin.buffer, "peek", None)
    return peek(1) if peek else b""


def is_video(beginning: bytes) -> bool:
    """Whether this begins a video and not a list of names: names hold no NUL, and lists that
    end their names with NUL hold no other control characters."""
    return b"\0" in beginning and _CONTROL.search(beginning) is not None
