"""Write frames to a video file, such as a generated video."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from vtnstream.errors import OutputError
from vtnstream.video.container import output_url

Frame = NDArray[np.uint8]


def write_video(
    path: str | Path,
    frames: Iterable[Frame],
    fps: Fraction | int,
    *,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
) -> int:
    """Encode frames at a constant rate to an MP4 file, which appears only when it is complete.

    One encoder thread is used, so that equal frames give equal bytes on any number of cores.

    Args:
        path: the file to write; an existing one is replaced at the end.
        frames: (h, w, 3) uint8 RGB, all of one size with even sides (4:2:0 chroma).
        fps: frames per second.
        codec: libav's name of the encoder.
        options: options of the encoder; None is a fast H.264 at visually good quality.

    Returns:
        The number of frames written.

    Raises:
        OutputError: the file cannot be written, ``frames`` is empty, or their sides are odd.
    """
    path = Path(path)
    # The temporary name is short, because the target's may have the maximum length.
    part = path.with_name(f".vtnstream-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    options = {"preset": "ultrafast", "crf": "20"} if options is None else options
    try:
        count = _encode(part, iter(frames), Fraction(fps), codec, options)
        os.replace(part, path)
    except (OSError, ValueError, av.error.FFmpegError) as error:
        raise OutputError(f"{path}: the video cannot be written ({error})") from error
    finally:
        part.unlink(missing_ok=True)
    return count


def _encode(part: Path, frames: Any, fps: Fraction, codec: str, options: dict[str, str]) -> int:
    first = next(frames, None)
    if first is None:
        raise ValueError("no frames")
    height, width = first.shape[:2]
    if height % 2 or width % 2:
        raise ValueError(f"sides must be even, not {width} x {height}")
    with av.open(output_url(part), "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        count = 0
        for count, array in enumerate(chain([first], frames), 1):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
            picture.pts, picture.time_base = count - 1, 1 / fps
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return count
