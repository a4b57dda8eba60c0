"""Determine how long each decoded frame is displayed, and where there are gaps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from vtnstream.video.decoding.clock import Place
from vtnstream.video.decoding.reader import FrameReader, Picture

_LONGEST_HOLD = Fraction(24 * 3600)
"""Seconds; a longer duration of the last frame is an error in the file."""


@dataclass(slots=True)
class Shown:
    """A decoded frame and the time during which it is displayed.

    Attributes:
        picture: the decoded frame; valid until the next one is requested.
        time: player time at which it appears.
        end: player time at which the next frame appears, or the video ends.
        hold: last time at which it is displayed if a gap follows; None if it is displayed until
            ``end``.
    """

    picture: Picture
    time: Fraction
    end: Fraction
    hold: Fraction | None = None

    @property
    def own_end(self) -> Fraction:
        """End of the frame itself, whether or not another frame follows."""
        return self.end if self.hold is None else min(self.picture.place.end, self.end)


@dataclass(slots=True)
class FrameTimeline:
    """Determines the display time of each frame, and finds gaps.

    A frame is displayed for its stored duration, and at least for ``patience`` seconds. If no
    duration is stored, or if the format cannot express gaps between packets, it is displayed until
    the next frame, unless packets between the two were corrupt or lost.
    """

    reader: FrameReader
    patience: Fraction
    gaps: list[tuple[Fraction, Fraction]] = field(default_factory=list)
    _latest: Place | None = None

    @property
    def end(self) -> Fraction:
        """Player time at which the last frame read so far ends."""
        if self._latest is None:
            return Fraction(0)
        time, end = self._latest.time, self._latest.end
        return end if end - time <= _LONGEST_HOLD else time + self.reader.facts.frame_seconds

    def __iter__(self) -> Iterator[Shown]:
        current: Picture | None = None
        appears = Fraction(0)
        patience = self.reader.facts.ticks_in(self.patience)
        for picture in self.reader.pictures():
            self._latest = place = picture.place
            time = place.time
            if current is not None:
                hold = None
                if place.tick - current.place.tick > patience:
                    hold = self._hold(current.place, time)
                yield Shown(current, appears, time, hold)
            current, appears = picture, time
        if current is not None:
            yield Shown(current, appears, self.end)

    def _hold(self, place: Place, following: Fraction) -> Fraction | None:
        """The last display time of a frame whose successor comes after ``patience``; None if it is
        displayed until then."""
        reader, facts, continuity = self.reader, self.reader.facts, self.reader.continuity
        # With keyframes only, durations do not describe the time until the next keyframe.
        declared = place.declared > 0 and not reader.keyframes_only
        if (facts.chained or not declared) and not continuity.was_damaged_between(
            place.time, following
        ):
            return None
        allowed = self.patience
        if declared:
            until = continuity.declared_until(place.time, place.duration)
            allowed = max(allowed, until - place.time)
        if following - place.time <= allowed:
            return None
        self.gaps.append((min(place.end, following), following))
        return place.time + allowed
