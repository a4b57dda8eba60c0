"""What a browser can play, and the copies made of what it cannot."""

from __future__ import annotations

from pathlib import Path

from vtnstream.types import VideoInfo

PLAYABLE_CODECS = frozenset({"h264", "vp8", "vp9", "av1"})
_CONTAINERS = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/mp4",
    ".webm": "video/webm",
}
_PIXELS = ("yuv420p", "yuvj420p")

DIRECT, REMUX, ENCODE = "direct", "remux", "encode"


def way_to_play(info: VideoInfo, path: Path) -> str:
    """How a browser can play a video.

    Returns:
        ``direct``; ``remux`` if only the container is in the way; else ``encode``.
    """
    if info.num_video_streams > 1:  # a browser would choose a stream of its own
        return ENCODE
    if info.codec_name not in PLAYABLE_CODECS or info.pixel_format not in (*_PIXELS, None):
        return ENCODE
    known = path.suffix.lower() in _CONTAINERS
    fits = "mp4" in info.format_name or "webm" in info.format_name
    return DIRECT if known and fits else REMUX


def media_type(path: Path) -> str:
    """The media type under which a file is sent."""
    return _CONTAINERS.get(path.suffix.lower(), "application/octet-stream")
