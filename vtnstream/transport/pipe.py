"""Tell whether standard input carries a list of names or a video."""

from __future__ import annotations

import re
import sys

_CONTROL = re.compile(rb"[\x01-\x08\x0e-\x1f]")


def peek_standard_input() -> bytes:
    """Return the first bytes of standard input without consuming them; wait for them if needed."""
    peek = getattr(sys.stdin.buffer, "peek", None)
    return peek(1) if peek else b""


def is_video(beginning: bytes) -> bool:
    """Return whether these first bytes belong to a video and not to a list of names.

    Names contain no NUL, and a list separated by NUL contains no other control characters.
    """
    return b"\0" in beginning and _CONTROL.search(beginning) is not None
