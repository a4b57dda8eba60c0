"""Short facts about the video and the run of a report."""

from __future__ import annotations

from collections.abc import Mapping

from vtnstream.config.class_heads import JOINT
from vtnstream.report.terminal.glyphs import Glyphs
from vtnstream.timecode import format_length, format_time
from vtnstream.types import ClassScore, Report
from vtnstream.wording import plural


def class_lists(report: Report) -> list[tuple[str, tuple[ClassScore, ...]]]:
    """Return the lists of classes of the whole video with their names: one without a name, or that
    of the combinations and one for each of several class heads."""
    if not report.heads:
        return [("", report.classes)] if report.classes else []
    return [(JOINT, report.classes), *((head.name, head.classes) for head in report.heads)]


def edit_facts(report: Report) -> list[str]:
    """Return the facts of the editing: ``12 shots``, ``3.4 s on average``, ``10 cuts``,
    ``1 transition``; no average of fewer than two shots.

    The list is empty for a model that does not find cuts.
    """
    counts = report.run.get("edits")
    if not isinstance(counts, Mapping):
        return []
    found = {name: counts.get(name) for name in ("shots", "cuts", "transitions")}
    facts = [
        f"{number:,} {name if number != 1 else name[:-1]}"
        for name, number in found.items()
        if isinstance(number, int)
    ]
    average = counts.get("average_shot_seconds")
    several = isinstance(found["shots"], int) and found["shots"] > 1
    if several and isinstance(average, (int, float)):
        facts.insert(1, f"{average:.1f} s on average")
    return facts


def video_facts(report: Report, glyphs: Glyphs) -> list[str]:
    """Return the facts of the video: ``1:00:00``, ``1920×1080``, ``h264``, ``29.97 frames/s``,
    ``1.2 GB``."""
    video = report.video
    duration = video.duration_from_header
    facts = [format_length(duration if duration is not None else report.end_seconds)]
    facts += [f"{video.width}{glyphs.times}{video.height}", video.codec_name]
    if video.average_rate:
        facts.append(f"{float(video.average_rate):.4g} frames/s")
    return [*facts, _byte_size(video.size_bytes)]


def run_facts(report: Report, glyphs: Glyphs) -> list[str]:
    """Return the facts of the run: the analysed part, the source of the features, and the speed."""
    facts = []
    if _selected(report):
        span = (
            f"{format_time(report.start_seconds)} {glyphs.dash} {format_time(report.end_seconds)}"
        )
        facts.append(span)
    tokens = _number(report, "tokens")
    if tokens is not None:
        sampling = report.sampling.get("description")
        several = report.sampling.get("frames")  # a token is made of several frames
        what = plural(int(tokens), "token" if several else "frame")
        rate = report.sampling.get("kind") == "rate"
        facts.append(what + ((f" at {sampling}" if rate else f" ({sampling})") if sampling else ""))
    clips = _number(report, "clips")
    if clips:
        facts.append(plural(int(clips), "clip"))
    facts += [_bars(report), _origin(report), _speed(report, glyphs)]
    name = report.model.get("name")
    return [fact for fact in (*facts, f"model {name}" if name else "") if fact]


def _selected(report: Report) -> bool:
    """Return whether less than the whole video was requested, according to the header."""
    duration = report.video.duration_from_header
    if report.start_seconds > 1:
        return True
    late = duration is not None and float(duration) - report.end_seconds > 1
    return late and report.partial is None


def _origin(report: Report) -> str:
    run = report.run
    tokens, encoded = _number(report, "tokens"), _number(report, "tokens_encoded")
    if run.get("from_store"):
        return "from stored features"
    if tokens and encoded is not None and 0 < encoded < tokens:
        return f"{encoded:,} decoded, the rest from stored features"
    return "decoded" if "from_store" in run else ""


def _bars(report: Report) -> str:
    """``bars cropped: 25 % of the width``."""
    shares = report.run.get("bars")
    if not isinstance(shares, (list, tuple)) or len(shares) != 4:
        return ""
    left, top, right, bottom = shares
    sides = {"width": left + right, "height": top + bottom}
    parts = [f"{100 * share:.0f} % of the {side}" for side, share in sides.items() if share]
    return f"bars cropped: {' and '.join(parts)}" if parts else ""


def _number(report: Report, fact: str) -> int | float | None:
    """Return a fact of the run; None if it is missing or not a number (an edited report)."""
    value = report.run.get(fact)
    return value if isinstance(value, (int, float)) and value >= 0 else None


def _speed(report: Report, glyphs: Glyphs) -> str:
    seconds = _number(report, "seconds")
    if not seconds:
        return ""
    whole = _number(report, "command_seconds")
    command = f" ({_duration(whole)} with start-up)" if whole and whole > seconds else ""
    if report.run.get("from_store"):
        # nothing was decoded, so a rate would be misleading
        return f"in {_duration(seconds)}{command}"
    tokens, encoded = _number(report, "tokens"), _number(report, "tokens_encoded")
    share = encoded / tokens if tokens and encoded is not None else 1
    ratio = share * (report.end_seconds - report.start_seconds) / seconds
    rate = f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}"
    return f"in {_duration(seconds)}, {rate}{glyphs.times} real time{command}"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else format_time(seconds, digits=0)


def _byte_size(count: int) -> str:
    """Format a size: ``1.2 GB``, in decimal units with three digits."""
    size, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while size >= 999.5 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.3g} {units[0]}"


def percent(score: float) -> str:
    """Format a score: ``97.3 %``. Only 0 and 1 are shown as 0 % and 100 %."""
    if score != score:
        return "-"
    if 0 < score < 0.0005:
        return "<0.1 %"
    if 0.9995 <= score < 1:
        return ">99.9 %"
    return f"{100 * score:.1f} %"
