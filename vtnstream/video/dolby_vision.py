"""Find the configuration of Dolby Vision in a file, which libav does not hand on.

Without it players show the base layer, mostly HDR10 or HLG.
"""

from __future__ import annotations

from pathlib import Path

from vtnstream.video.quicktime import sample_descriptions

_BOXES = (b"dvcC", b"dvvC", b"dvwC")
"""Boxes in sample entries of MP4 (Dolby Vision Streams Within the ISO Base Media File Format)."""
_MARKS = (*(b"\x41\xe7\x84" + name for name in _BOXES), b"\x05\x04DOVI")
"""The same as BlockAddIDType in Matroska, and the registration descriptor of MPEG-TS."""
_HEAD = 1 << 20


def has_dolby_vision(path: str | Path) -> bool:
    """Whether a file states a Dolby Vision configuration of any of its streams.

    Args:
        path: a local MP4, QuickTime, Matroska or MPEG-TS file.
    """
    with open(path, "rb") as file:
        head = file.read(_HEAD)
        if any(mark in head for mark in _MARKS):
            return True
        if head[4:8] not in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
            return False
        return any(name in entry for entry in sample_descriptions(file) for name in _BOXES)
