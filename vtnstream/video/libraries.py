"""Versions and decoders of PyAV's FFmpeg libraries, for ``vtnstream doctor``."""

from __future__ import annotations

from typing import Any

import av
import av.codec.hwaccel

_CODECS = ("h264", "hevc", "av1", "vp9", "mpeg4", "prores")
"""Common codecs whose decoders are listed."""


def library_versions() -> dict[str, Any]:
    """Return versions of PyAV and libav, decoders of common codecs, and kinds of hardware decoding.

    The latter are those that the libraries support; the machine may have none of them.
    """
    return {
        "pyav": av.__version__,
        "ffmpeg": av.ffmpeg_version_info,
        "libraries": {
            name: ".".join(map(str, version)) for name, version in av.library_versions.items()
        },
        "decoders": [name for name in _CODECS if name in av.codecs_available],
        "hardware": av.codec.hwaccel.hwdevices_available(),
    }
