"""Summarise a pass over a file: complete, partial or unusable."""

from __future__ import annotations

from fractions import Fraction

from vtnstream.errors import VideoDecodeError
from vtnstream.timecode import format_time
from vtnstream.types import DecodeSummary
from vtnstream.video.decoding.frame_timeline import FrameTimeline
from vtnstream.video.decoding.reader import FrameReader
from vtnstream.wording import plural

_MAX_PLACES = 5
_SLACK_FRAMES = 3
_SLACK_SECONDS = Fraction(1, 4)
_SLACK_SHARE = Fraction(1, 100)
_MAX_SLACK_SECONDS = Fraction(2)


def check_usable(path: str, reader: FrameReader) -> None:
    """Check that a whole pass yielded usable frames.

    Raises:
        VideoDecodeError: there was no frame, or there were far more errors than frames.
    """
    stats = reader.counters.lifetime
    errors, frames = stats.num_packet_errors, stats.num_frames
    if frames and not (errors > 10 and errors > 2 * frames):
        return
    if reader.num_encrypted:
        raise VideoDecodeError(f"{path}: is encrypted: remove its copy protection first")
    if frames:
        raise VideoDecodeError(
            f"{path}: {plural(errors, 'packet')} failed and only "
            f"{plural(frames, 'frame was', 'frames were')} decoded (it is "
            "encrypted or heavily damaged): get another copy"
        )
    failed = f"{plural(errors, 'packet')} failed: damaged or encrypted" if errors else ""
    why = reader.stopped or failed or "the video stream is empty"
    raise VideoDecodeError(f"{path}: no frame could be decoded ({why}): get another copy")


def summarize(reader: FrameReader, timeline: FrameTimeline) -> DecodeSummary:
    """Summarise a pass that has ended."""
    ending = tuple(_at_the_end(reader, timeline))
    return DecodeSummary(
        stats=reader.counters.total,
        end_seconds=float(max(Fraction(0), _end(reader, timeline))),
        reached_end=reader.reached_end or reader.stopped is not None,
        problems=(*_met(reader, timeline), *ending),
        end_problems=ending,
        warnings=tuple(_warnings(reader)),
        frames=reader.frames,
    )


def _end(reader: FrameReader, timeline: FrameTimeline) -> Fraction:
    """Return the end of the video; frames after the last keyframe count even if they were not
    decoded."""
    packets_end = reader.continuity.packets_end
    if reader.keyframes_only and packets_end is not None:
        return max(timeline.end, packets_end)
    return timeline.end


def _warnings(reader: FrameReader) -> list[str]:
    warnings = list(reader.clock.warnings)
    dropped = reader.counters.total.num_dropped
    if dropped:
        what = plural(dropped, "frame was", "frames were")
        warnings.append(f"{what} dropped because their time did not increase")
    return warnings


def _met(reader: FrameReader, timeline: FrameTimeline) -> list[str]:
    """Return the problems before the end: damage and gaps."""
    stats = reader.counters.total
    problems = []
    if stats.num_packet_errors:
        problems.append(f"{plural(stats.num_packet_errors, 'packet')} could not be decoded")
    if stats.num_corrupt:
        count = plural(stats.num_corrupt, "packet or frame is", "packets or frames are")
        problems.append(f"{count} corrupt")
    if timeline.gaps:
        places = ", ".join(f"{_clock(a)} to {_clock(b)}" for a, b in timeline.gaps[:_MAX_PLACES])
        more = len(timeline.gaps) - _MAX_PLACES
        problems.append(f"no frames from {places}" + (f" and {more} more" if more > 0 else ""))
    return problems


def _at_the_end(reader: FrameReader, timeline: FrameTimeline) -> list[str]:
    """Return the problems at the end: why the video ends too early."""
    problems = []
    if reader.num_encrypted:
        problems.append(f"{plural(reader.num_encrypted, 'packet is', 'packets are')} encrypted")
    if reader.stopped:
        problems.append(f"reading stopped at {_clock(timeline.end)}: {reader.stopped}")
    elif reader.reached_end and (promised := _promised_end(reader)) is not None:
        slack = max(
            _SLACK_FRAMES * reader.facts.frame_seconds,
            _SLACK_SECONDS,
            min(_MAX_SLACK_SECONDS, promised * _SLACK_SHARE),
        )
        if promised - (end := _end(reader, timeline)) > slack:
            problems.append(
                f"the video ends at {_clock(end)}, but at {_clock(promised)} by its header"
            )
    return problems


def _promised_end(reader: FrameReader) -> Fraction | None:
    """Return the player time at which the video ends according to the header."""
    facts = reader.facts
    if facts.header_end is not None:
        return facts.header_end
    promised, others = facts.container_end, reader.source.others_end
    if promised is not None and others is not None and others + _SLACK_SECONDS >= promised:
        return None  # the audio is longer than the video
    return promised


def _clock(time: Fraction) -> str:
    return format_time(time, digits=2)
