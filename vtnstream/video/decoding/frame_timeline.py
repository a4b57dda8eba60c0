"""Determine how long each decoded frame is displayed, and where there are gaps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from vtnstream.video.decoding.clock import FrameTime
from vtnstream.video.decoding.reader import DecodedFrame, FrameReader

_MAX_HOLD = Fraction(24 * 3600)
"""Seconds; a longer duration of the last frame is an error in the file."""


@dataclass(slots=True)
class DisplayedFrame:
    """A decoded frame and the time during which it is displayed.

    Attributes:
        decoded: the decoded frame; valid until the next one is requested.
        time: player time at which it appears.
        end: player time at which the next frame appears, or the video ends.
        hold: last time at which it is displayed if a gap follows; None if it is displayed until
            ``end``.
    """

    decoded: DecodedFrame
    time: Fraction
    end: Fraction
    hold: Fraction | None = None

    @property
    def own_end(self) -> Fraction:
        """End of the frame itself, whether or not another frame follows."""
        return self.end if self.hold is None else min(self.decoded.place.end, self.end)


@dataclass(slots=True)
class FrameTimeline:
    """Determines the display time of each frame, and finds gaps.

    A frame is displayed for its stored duration, and at least for ``min_hold`` seconds. If no
    duration is stored, or if the format cannot express gaps between packets, it is displayed until
    the next frame, unless packets between the two were corrupt or lost.
    """

    reader: FrameReader
    min_hold: Fraction
    gaps: list[tuple[Fraction, Fraction]] = field(default_factory=list)
    _latest: FrameTime | None = None

    @property
    def end(self) -> Fraction:
        """Player time at which the last frame read so far ends."""
        if self._latest is None:
            return Fraction(0)
        time, end = self._latest.time, self._latest.end
        return end if end - time <= _MAX_HOLD else time + self.reader.facts.frame_seconds

    def __iter__(self) -> Iterator[DisplayedFrame]:
        current: DecodedFrame | None = None
        appears = Fraction(0)
        min_hold = self.reader.facts.ticks_in(self.min_hold)
        for decoded in self.reader.decoded_frames():
            self._latest = place = decoded.place
            time = place.time
            if current is not None:
                hold = None
                if place.tick - current.place.tick > min_hold:
                    hold = self._hold(current.place, time)
                yield DisplayedFrame(current, appears, time, hold)
            current, appears = decoded, time
        if current is not None:
            yield DisplayedFrame(current, appears, self.end)

    def _hold(self, place: FrameTime, following: Fraction) -> Fraction | None:
        """Return the last display time of a frame whose successor comes after ``min_hold``; None if
        it is displayed until then."""
        reader, facts, continuity = self.reader, self.reader.facts, self.reader.continuity
        # With keyframes only, durations do not describe the time until the next keyframe.
        declared = place.declared > 0 and not reader.keyframes_only
        if (facts.contiguous or not declared) and not continuity.was_damaged_between(
            place.time, following
        ):
            return None
        allowed = self.min_hold
        if declared:
            until = continuity.declared_until(place.time, place.duration)
            allowed = max(allowed, until - place.time)
        if following - place.time <= allowed:
            return None
        self.gaps.append((min(place.end, following), following))
        return place.time + allowed
