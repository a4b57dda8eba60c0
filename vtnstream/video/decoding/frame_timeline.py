"""How long each decoded frame stays on screen, and where nothing is on screen: gaps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from vtnstream.video.decoding.clock import Place
from vtnstream.video.decoding.reader import FrameReader, Picture

_LONGEST_HOLD = Fraction(24 * 3600)
"""Seconds; a last frame that claims to stay longer than a day is damage."""


@dataclass(slots=True)
class Shown:
    """A picture and its span on screen.

    Attributes:
        picture: the decoded frame; valid until the next one is asked for.
        time: player time at which it appears.
        end: player time at which the next frame appears, or the video ends.
        hold: last moment at which a token may still show it, None up to ``end``. A number
            means that a gap follows.
    """

    picture: Picture
    time: Fraction
    end: Fraction
    hold: Fraction | None = None

    @property
    def own_end(self) -> Fraction:
        """End of the frame itself, apart from what follows."""
        return self.end if self.hold is None else min(self.picture.place.end, self.end)


@dataclass(slots=True)
class FrameTimeline:
    """Pairs each frame with what follows, and finds the gaps.

    A frame holds for its declared duration, and in any case for ``patience`` seconds. Where
    no duration is declared, or where packets follow each other without a break by the very
    format, it holds until the next frame, unless packets were corrupt or lost between them.
    """

    reader: FrameReader
    patience: Fraction
    gaps: list[tuple[Fraction, Fraction]] = field(default_factory=list)
    _latest: Place | None = None

    @property
    def end(self) -> Fraction:
        """Player time at which the last frame so far ends."""
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
        """How long a frame holds that was on screen for more than ``patience``."""
        reader, facts, continuity = self.reader, self.reader.facts, self.reader.continuity
        # Frames left out on purpose make durations say nothing about their keyframe.
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
