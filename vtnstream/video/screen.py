"""How long each decoded frame stays on screen, and where nothing is on screen: gaps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from vtnstream.video.decode import FrameReader, Picture

_LONGEST_HOLD = Fraction(24 * 3600)
"""Seconds; a last frame that claims to stay longer than a day is damage."""


@dataclass(slots=True)
class Shown:
    """A picture and its span on screen.

    Attributes:
        picture: the decoded frame; valid until the next one is asked for.
        end: player time at which the next frame appears, or the video ends.
        hold: last moment at which a token may still show it, None up to ``end``. A number
            means that a gap follows.
        is_last: nothing follows in the file.
    """

    picture: Picture
    end: Fraction
    hold: Fraction | None = None
    is_last: bool = False

    @property
    def own_end(self) -> Fraction:
        """End of the frame itself, apart from what follows."""
        return self.end if self.hold is None else min(self.picture.end, self.end)


@dataclass(slots=True)
class Screen:
    """Pairs each frame with what follows, and finds the gaps.

    A frame holds for its declared duration, and in any case for ``patience`` seconds. Where
    no duration is declared, or where packets follow each other without a break by the very
    format, it holds until the next frame, unless packets were corrupt or lost between them.
    """

    reader: FrameReader
    patience: Fraction
    gaps: list[tuple[Fraction, Fraction]] = field(default_factory=list)
    end: Fraction = Fraction(0)
    """Player time at which the last frame that was decoded ends."""

    def __iter__(self) -> Iterator[Shown]:
        current: Picture | None = None
        for picture in self.reader.pictures():
            self.end = picture.end
            if current is not None:
                yield self._shown(current, picture.time)
            current = picture
        if current is not None:
            end = current.end
            if end - current.time > _LONGEST_HOLD:
                end = current.time + self.reader.facts.frame_seconds
            self.end = end
            yield Shown(current, end, is_last=True)

    def _shown(self, picture: Picture, following: Fraction) -> Shown:
        hold = self._hold(picture, following)
        if hold is not None:
            self.gaps.append((min(picture.end, following), following))
        return Shown(picture, following, hold)

    def _hold(self, picture: Picture, following: Fraction) -> Fraction | None:
        age = following - picture.time
        if age <= self.patience:
            return None
        reader, facts, continuity = self.reader, self.reader.facts, self.reader.continuity
        # Frames left out on purpose make durations say nothing about their keyframe.
        declared = picture.duration > 0 and not reader.keyframes_only
        if (facts.chained or not declared) and not continuity.was_damaged_between(
            picture.time, following
        ):
            return None
        allowed = self.patience
        if declared:
            until = continuity.declared_until(picture.time, picture.duration)
            allowed = max(allowed, until - picture.time)
        return None if age <= allowed else picture.time + allowed
