"""Open media files safely.

Media files are untrusted data. vtnstream opens the file itself (see
:mod:`vtnstream.transport.media`) and passes libav a file object without a name, a list of allowed
formats and no protocol, so that a playlist can neither open other files nor connect to a server.
Only allowed decoders run, and only on frames of bounded size.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import av.logging
from av.codec.hwaccel import HWAccel

from vtnstream.errors import NoVideoStreamError, UsageError, VideoOpenError
from vtnstream.transport.address import shown
from vtnstream.transport.feed import Feed, comes_in_order
from vtnstream.transport.media import Medium, open_media

# A Python log callback can deadlock with decoder threads (PyAV #751).
av.logging.set_level(None)

DEFAULT_MAX_PIXELS = 50_000_000

# Kept as text, so that adding or removing a name changes one word in a diff.
_RAW_FORMATS = """
    av1 cavsvideo dirac evc h261 h263 h264 hevc m4v mjpeg mpegvideo obu vc1 vvc
    """
_FILE_FORMATS = """
    3gp 3g2 mj2 mov mp4 m4a matroska webm avi mpegts mpeg flv live_flv asf ogg gif apng
    ivf mxf nut dv rm wtv yuv4mpegpipe gxf nsv vob psp ismv
    """
_DECODERS = """
    h264 hevc vvc av1 libdav1d vp3 vp4 vp5 vp6 vp6a vp6f vp7 vp8 vp9 libvpx libvpx-vp9
    mpeg1video mpeg2video mpegvideo mpeg4 msmpeg4 msmpeg4v1 msmpeg4v2 h261 h263 h263i
    h263p flv wmv1 wmv2 wmv3 vc1 mjpeg mjpegb ljpeg theora prores dnxhd dvvideo ffv1
    huffyuv ffvhuff utvideo rawvideo v210 png apng gif webp jpeg2000 svq1 svq3 cinepak
    indeo3 indeo4 indeo5 rv10 rv20 rv30 rv40 cfhd hap magicyuv qtrle rpza msrle msvideo1
    tscc tscc2 cscd flashsv flashsv2 zmbv dirac cavs snow
    """

RAW_FORMATS = frozenset(_RAW_FORMATS.split())
"""Elementary streams, which store no times."""

FORMATS = RAW_FORMATS | frozenset(_FILE_FORMATS.split())
"""Allowed demuxers. None of them opens a second file."""

DECODERS = frozenset(_DECODERS.split())
"""Allowed decoders (libav's ``codec_whitelist`` has no effect in PyAV)."""

# A wrong header can make libav raise MemoryError.
DECODE_ERRORS = (av.error.FFmpegError, ValueError, MemoryError)
"""Exceptions of libav for bad data."""


class HardwareRefusedError(Exception):
    """A GPU cannot decode this video, or its frames might differ: decode in software instead. The
    message is a clause that says why."""


_IMAGE_FILE_BRAND = "mif1"
"""Brand of files with still images, which may also hold an animation (ISO/IEC 23008-12)."""
_NOT_A_VIDEO = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails


@dataclass(slots=True)
class OpenedVideo:
    """An open file and its selected video stream. ``close`` may be called twice.

    Attributes:
        path: name of the file for messages.
        medium: the file, URL or stream.
        size_bytes: size of the file; 0 if unknown.
        file: the open file object.
        container: ``av.container.InputContainer``.
        stream: the selected ``av.video.VideoStream``.
        num_video_streams: number of video streams in the container.
        read_before: packets at the start of the stream that were read already, and are returned
            first.
        decoded_before: the same packets with the frames that came out of the decoder.
    """

    path: str
    medium: Medium
    size_bytes: int
    file: Any
    container: Any
    stream: Any
    num_video_streams: int = 0
    read_before: deque[Any] = field(default_factory=deque)
    decoded_before: deque[tuple[Any, list[Any]]] = field(default_factory=deque)

    def continue_after(self, done: Sequence[tuple[Any, list[Any]]]) -> None:
        """Let the next reader and decoder begin with packets that were read and decoded.

        Args:
            done: all packets of the stream from its start, with the frames that came out.
        """
        self.read_before.extend(packet for packet, _ in done)
        self.decoded_before.extend(done)

    def demux(self, *streams: Any) -> Iterator[Any]:
        """Yield the packets of the selected stream and others, as libav returns them."""
        while self.read_before:
            yield self.read_before.popleft()
        try:
            yield from self.container.demux(*streams)
        except IndexError:
            # After the last packet PyAV also ends streams that damage made appear in the middle,
            # which it does not know.
            return

    def decode(self, packet: Any) -> list[Any]:
        """Return the frames that come out of the decoder after a packet; None is the end."""
        if self.decoded_before:
            before, frames = self.decoded_before.popleft()
            assert packet is before
        else:
            frames = self.stream.codec_context.decode(packet)
        return frames

    def use_one_thread(self) -> None:
        """Let the decoder, which is not open yet, work on one frame in one thread."""
        context = self.stream.codec_context
        # On damaged files, more threads change the frames with the number of threads, and slice
        # threads also hide errors (measured for VP9: 32 errors became 0). So there are several
        # only where the first error ends the pass: see :mod:`vtnstream.video.decoding.sparse`.
        context.thread_type = "NONE"
        context.thread_count = 1

    def close(self) -> None:
        # Without close() each open leaks 4 MB through reference cycles (PyAV #1117).
        try:
            self.container.close()
        finally:
            self.file.close()

    @property
    def format_name(self) -> str:
        return str(self.container.format.name)

    def is_format(self, *names: str) -> bool:
        return not set(names).isdisjoint(self.format_name.split(","))


def open_video(
    medium: Medium,
    *,
    stream: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    fill_in: bool = True,
    accelerator: HWAccel | None = None,
) -> OpenedVideo:
    """Open a video and select its stream.

    Args:
        medium: a local file, a URL, or a stream.
        stream: index of a stream in the container; None chooses as ffmpeg does.
        max_pixels: larger frames are rejected before they are decoded.
        fill_in: whether libav may guess times and durations that are not stored.
        accelerator: decodes on a GPU.

    Raises:
        HardwareRefusedError: the GPU does not exist, or does not support the stream.
        VideoOpenError: the file cannot be used.
        NoVideoStreamError: it has no video stream.
        UsageError: ``stream`` is no video stream.
    """
    path = shown(str(medium))
    if isinstance(medium, Feed) and not comes_in_order(medium):
        raise VideoOpenError(
            f"{path}: is an MP4 with its index at the end, which cannot be read as a stream: "
            "record Matroska, MPEG-TS or fragmented MP4"
        )
    opened = open_media(medium)
    file = opened.file
    container: Any = None
    try:
        try:
            container = _open_container(file, path, max_pixels, fill_in, accelerator)
        except (VideoOpenError, RuntimeError) as error:
            if accelerator is None:
                raise
            why = reason_of(error.__context__ or error)
            raise HardwareRefusedError(f"it cannot be opened there: {why}") from error
        # Without stored pts, libav generates them in decoding order; dts is the better guess.
        container.flags &= ~av.container.Flags.gen_pts.value
        chosen, count = _choose_stream(container, path, stream)
        context = chosen.codec_context
        if context.width * context.height > max_pixels:
            raise VideoOpenError(
                f"{path}: frames of {context.width} x {context.height} are larger than the limit "
                f"of {max_pixels} pixels: scale the video down first"
            )
        context.options = {"max_pixels": str(max_pixels)}
        if accelerator is not None and not context.is_hwaccel:
            raise HardwareRefusedError(f"it does not decode the codec {context.name}")
        return OpenedVideo(path, medium, opened.size, file, container, chosen, count)
    except BaseException:
        if container is not None:
            container.close()
        file.close()
        raise


@contextmanager
def opened(medium: Medium, **options: Any) -> Iterator[OpenedVideo]:
    """Open a video as :func:`open_video` does, for a ``with`` block."""
    video = open_video(medium, **options)
    try:
        yield video
    finally:
        video.close()


def _open_container(
    file: Any, path: str, max_pixels: int, fill_in: bool, accelerator: HWAccel | None
) -> Any:
    options = {
        "format_whitelist": ",".join(sorted(FORMATS)),
        "protocol_whitelist": "none",
        # Probing decodes frames too.
        "max_pixels": str(max_pixels),
    }
    if not fill_in:
        options["fflags"] = "+nofillin"
    try:
        return av.open(
            file,
            "r",
            options=options,
            metadata_errors="replace",
            buffer_size=1 << 17,
            hwaccel=accelerator,
        )
    except av.error.InterruptedError:
        raise KeyboardInterrupt from None
    except MemoryError:
        raise VideoOpenError(
            f"{path}: the header is damaged (it needs too much memory): get another copy"
        ) from None
    except av.error.ArgumentError:
        raise VideoOpenError(
            f"{path}: is not a supported video format (nor are playlists and audio files): convert "
            "a video with ffmpeg -i IN OUT.mp4"
        ) from None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise VideoOpenError(
            f"{path}: is not a readable media file ({reason_of(error)}); "
            "check that it plays, or copy it again"
        ) from None


def output_url(path: str | Path) -> str:
    """Return a path in the form that libav needs for writing: ``12:30.mp4`` is a file, not a
    protocol."""
    return f"file:{os.path.abspath(path)}"


def reason_of(error: BaseException) -> str:
    """Return a short text for an error of libav, without numbers and file names."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__).strip()


def _choose_stream(container: Any, path: str, wanted: int | None) -> tuple[Any, int]:
    videos = [s for s in container.streams if s.type == "video"]
    candidates = [s for s in videos if not s.disposition & _NOT_A_VIDEO]
    if not candidates:
        what = "only a cover image" if videos else "only audio or subtitles"
        raise NoVideoStreamError(f"{path}: has no video stream ({what}): give a video file")
    if wanted is not None:
        chosen = next((s for s in candidates if s.index == wanted), None)
        if chosen is None:
            known = ", ".join(str(s.index) for s in candidates)
            raise UsageError(
                f"{path}: stream {wanted} is not a video stream (video streams: {known})"
            )
        _check_decoder(chosen, path)
        return chosen, len(candidates)
    candidates = _moving(container, candidates)
    usable = [s for s in candidates if _decoder_name(s) in DECODERS]
    if not usable:
        _check_decoder(candidates[0], path)
    return max(usable, key=_score), len(candidates)


def _moving(container: Any, candidates: list[Any]) -> list[Any]:
    """Return the animation of an AVIF or HEIF file without its still images, or else all
    candidates.

    libav makes a stream of one frame, without duration, of each still image.
    """
    brands = str(container.metadata.get("compatible_brands", ""))
    if _IMAGE_FILE_BRAND not in brands:
        return candidates
    return [s for s in candidates if s.frames > 1 or s.duration is not None] or candidates


def _score(stream: Any) -> tuple[bool, bool, int]:
    """Return the sort key of ffmpeg's order: streams with a known pixel format, then the default
    stream, then the largest. ``max`` returns the first of equal ones."""
    context = stream.codec_context
    default = bool(stream.disposition & av.stream.Disposition.default)
    return context.pix_fmt is not None, default, context.width * context.height


def _decoder_name(stream: Any) -> str | None:
    context = stream.codec_context
    return None if context is None else str(context.name)


def _check_decoder(stream: Any, path: str) -> None:
    name = _decoder_name(stream)
    if name not in DECODERS:
        what = f"the codec {name}" if name else "its codec"
        raise VideoOpenError(
            f"{path}: vtnstream does not decode {what}: convert it, "
            "for instance with ffmpeg -i IN -c:v libx264 OUT.mp4"
        )


def container_start(video: OpenedVideo) -> Fraction:
    """Return the exact start time of the container in seconds.

    libav rounds it to microseconds. If a stream starts within 1 us of it, the exact start of the
    stream is used; otherwise the first frame could miss the grid point at 0.
    """
    start = video.container.start_time
    streams = [video.stream, *(s for s in video.container.streams if s is not video.stream)]
    exact = [
        s.start_time * s.time_base
        for s in streams
        if s.start_time is not None and s.time_base is not None
    ]
    if start is None:
        return exact[0] if video.stream.start_time is not None else Fraction(0)
    rounded = Fraction(start, 1_000_000)
    near = [value for value in exact if abs(value - rounded) <= Fraction(1, 1_000_000)]
    return near[0] if near else rounded
