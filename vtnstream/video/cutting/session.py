"""Cut one source into any number of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

from vtnstream.errors import OutputError
from vtnstream.types import TimeRange
from vtnstream.video.cutting.audio import (
    Audio,
    AudioChoice,
    AudioReader,
    CopiedAudio,
    EncodedAudio,
    Placed,
    choose_audio,
)
from vtnstream.video.cutting.copying import (
    DROP,
    EXTEND,
    HIDE,
    PacketWriter,
    PartEnd,
    has_frame,
    merged,
    shown_until,
)
from vtnstream.video.cutting.encoding import VideoEncoder
from vtnstream.video.cutting.frames import FrameParts, Source
from vtnstream.video.cutting.output import OutputFile, container_of, output
from vtnstream.video.cutting.packet_parts import PacketParts, TimedPacket, UncopyableError
from vtnstream.video.cutting.smart import Part, SmartCutError, SmartPart, Stretches, check
from vtnstream.video.dolby_vision import has_dolby_vision
from vtnstream.video.probe import interruptible
from vtnstream.wording import plural

MODES = ("encode", "copy", "smart")

_WITHOUT_DOLBY_VISION = "its Dolby Vision is not kept: players show the base layer"
_AUDIO_DELAY = Fraction(1, 2)
"""Seconds by which writing of audio lags behind the frames, so that no packet exceeds its part."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Result of writing a file.

    Attributes:
        seconds: duration of the video.
        starts: player time in the source at which each part begins; for copied packets that of the
            keyframe at or before the part.
        notes: one sentence for each difference from the source or the request.
    """

    seconds: float
    starts: tuple[float, ...]
    notes: tuple[str, ...]


@dataclass(slots=True)
class CuttingSession:
    """Reads one video and writes parts of it, in order of time without reading twice.

    Attributes:
        source: the video.
        frames: reads frames for encoding.
        packets: reads packets for copying.
    """

    source: Source
    frames: FrameParts = field(init=False)
    packets: PacketParts = field(init=False)
    _choices: dict[str, AudioChoice] = field(default_factory=dict)
    _audio: AudioReader | None = None

    def __post_init__(self) -> None:
        self.frames = FrameParts(self.source)
        self.packets = PacketParts(self.source)

    @classmethod
    def of(cls, path: str | Path, stream: int | None = None) -> CuttingSession:
        """Open a video.

        Args:
            path: a local file.
            stream: index of the video stream; None chooses as ffmpeg does.

        Raises:
            VideoOpenError, NoVideoStreamError, UsageError: see
                :func:`vtnstream.video.probe.examine`.
        """
        return cls(Source.of(path, stream))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the source."""
        self.frames.close()
        self.packets.close()
        if self._audio is not None:
            self._audio.close()

    def write(
        self,
        target: str | Path,
        parts: Sequence[TimeRange],
        *,
        mode: str = "encode",
        overwrite: bool = False,
    ) -> Cut:
        """Write parts of the video, one after the other, to a new file.

        Args:
            target: the file, which appears only when it is complete; its suffix determines the
                container.
            parts: in player time, each with an end, in order and not overlapping.
            mode: ``encode`` re-encodes frames, with exact boundaries; ``copy`` copies packets, each
                part from the keyframe at or before its start; ``smart`` copies packets and encodes
                only frames near the boundaries of a part, which are exact too, if the codec
                supports it (otherwise all frames are encoded, with a note).
            overwrite: replace ``target`` if it exists (never the source).

        Raises:
            OutputError: the file cannot be written or exists, or the video has no frame in the
                parts.
            VideoDecodeError: the operating system cannot read the source.
        """
        target = Path(target)
        container_of(target)
        if not parts or any(p.end is None or p.end <= p.start for p in parts):
            raise OutputError(f"{target}: no part to cut out")
        with interruptible():
            cut = self._write(target, parts, mode, overwrite)
        if has_dolby_vision(self.source.path) and not has_dolby_vision(target):
            return replace(cut, notes=(*cut.notes, _WITHOUT_DOLBY_VISION))
        return cut

    def _write(self, target: Path, parts: Sequence[TimeRange], mode: str, overwrite: bool) -> Cut:
        why: str | None = None
        if mode == "smart":
            try:
                with output(target, self.source.path, overwrite=overwrite) as file:
                    return _Smart(self, file).write(parts)
            except (SmartCutError, UncopyableError) as error:
                why = str(error)
        with output(target, self.source.path, overwrite=overwrite) as file:
            if mode == "copy":
                return _Copying(self, file, target).write(parts)
            cut = _Encoding(self, file, target).write(parts)
        if why is None:
            return cut
        return replace(cut, notes=(f"all frames are encoded: {why}", *cut.notes))

    def audio(self, file: OutputFile, *, copied: bool) -> tuple[Audio | None, tuple[str, ...]]:
        """Return the audio writer of an output, or None, and notes about the audio.

        Args:
            file: the output.
            copied: whether packets may be copied.
        """
        kind, out = file.kind, file.container
        if kind not in self._choices:
            self._choices[kind] = choose_audio(self.source, kind)
        choice = self._choices[kind]
        if choice.index is None:
            return None, choice.notes
        if self._audio is None:
            self._audio = AudioReader(self.source, choice.index)
        if copied and choice.copied:
            return CopiedAudio(out, self._audio, early=file.hides_frames), choice.notes
        return EncodedAudio(out, self._audio), choice.notes


@dataclass(slots=True)
class Track:
    """The audio of one output, written along with its frames; None without audio."""

    audio: Audio | None

    def begin(self, start: Fraction, at: Fraction) -> None:
        """Start a part: ``start`` of the source is at ``at`` of the output."""
        if self.audio is not None:
            self.audio.begin(Placed(start, at))

    def go_on(self, time: Fraction) -> None:
        """Write the audio for frames up to ``time`` of the source."""
        if self.audio is not None:
            self.audio.write_until(time - _AUDIO_DELAY)

    def end(self, time: Fraction) -> None:
        """End the part at ``time`` of the source."""
        if self.audio is not None:
            self.audio.write_until(time, ends=True)

    def finish(self, seconds: Fraction) -> None:
        """Complete the audio of an output that is ``seconds`` long."""
        if self.audio is not None:
            self.audio.finish(seconds)


@dataclass(slots=True)
class _Encoding:
    """Writes parts by re-encoding all frames."""

    session: CuttingSession
    file: OutputFile
    target: Path
    encoder: VideoEncoder | None = None
    track: Track = field(default_factory=lambda: Track(None))
    notes: list[str] = field(default_factory=list)

    def write(self, parts: Sequence[TimeRange]) -> Cut:
        written = Fraction(0)
        starts: list[float] = []
        errors = self.session.frames.stats.num_packet_errors
        for part in parts:
            written, start = self._part(part, written, alone=len(parts) == 1)
            if start is not None:
                starts.append(float(start))
        if self.encoder is None:
            raise OutputError(
                f"{self.target}: nothing of these times is in {self.session.source.path}"
            )
        self.encoder.finish()
        self.track.finish(written)
        failed = self.session.frames.stats.num_packet_errors - errors
        if failed:
            self.notes.append(f"{plural(failed, 'packet')} of the source could not be decoded")
        return Cut(float(written), tuple(starts), (*self.encoder.notes, *self.notes))

    def _part(
        self, part: TimeRange, written: Fraction, *, alone: bool
    ) -> tuple[Fraction, Fraction | None]:
        start = end = None
        for found in self.session.frames.of(part):
            if self.encoder is None:
                self.encoder = VideoEncoder(self.file.container, found, self.session.source)
                audio, notes = self.session.audio(self.file, copied=alone)
                self.track = Track(audio)
                self.notes += notes
            if start is None:
                start = found.start
                self.track.begin(start, written)
            at = written + found.start - start
            self.encoder.write(found, at, written + found.end - start, first=end is None)
            end = found.end
            self.track.go_on(end)
        if start is None or end is None:
            return written, None
        self.track.end(end)
        return written + end - start, start


@dataclass(slots=True)
class _Copying:
    """Writes parts by copying packets."""

    session: CuttingSession
    file: OutputFile
    target: Path
    notes: list[str] = field(default_factory=list)

    def write(self, parts: Sequence[TimeRange]) -> Cut:
        session, packets = self.session, self.session.packets
        source = session.source
        try:
            copied = merged(parts, packets)
            stream = self.file.copy_of(packets.stream)
            writer = PacketWriter(self.file.container, stream)
            audio, notes = session.audio(self.file, copied=True)
            track = Track(audio)
            single = HIDE if self.file.hides_frames else DROP
            manner = single if len(copied) == 1 else EXTEND
            starts = [self._part(part, writer, track, manner) for part in copied]
        except UncopyableError as error:
            raise OutputError(
                f"{self.target}: {source.path} cannot be copied ({error}); leave out --copy"
            ) from error
        found = tuple(float(start) for start in starts if start is not None)
        if not found:
            raise OutputError(f"{self.target}: nothing of these times is in {source.path}")
        track.finish(writer.seconds)
        self.file.check = lambda path: self._check(path)
        return Cut(float(writer.seconds), found, (*notes, *self.notes))

    def _check(self, path: Path) -> None:
        """Raise OutputError if the file has no frame that can be decoded: its packets are copied
        without being read."""
        if not has_frame(path):
            raise OutputError(
                f"{self.target}: none of the copied packets can be decoded; "
                f"{self.session.source.path} is damaged there: leave out --copy"
            )

    def _part(
        self, part: TimeRange, writer: PacketWriter, track: Track, manner: str
    ) -> Fraction | None:
        """Write a part; return the player time at which it begins, or None if it has no frame."""
        source, at = self.session.source, writer.seconds
        assert part.end is not None
        ending = PartEnd(part.end, source.tolerance, manner)
        first: TimedPacket | None = None
        last: TimedPacket | None = None
        for packet, hidden in ending.packets(self.session.packets.of(part.start)):
            if first is None:
                first = packet
                track.begin(first.time, at)
            if not hidden and (last is None or packet.time > last.time):
                last = packet
            ahead = at - first.time
            writer.add(packet.packet, packet.time + ahead, packet.decoded + ahead, hidden=hidden)
            track.go_on(packet.decoded)
        if first is None or last is None:
            return None
        end = shown_until(ending, last, source.facts.frame_seconds)
        if ending.num_lost:
            self.notes.append(
                f"frames left out before {float(part.end):.2f} s: {ending.num_lost}, which need "
                "frames behind it (.mp4 and .mov can hide those)"
            )
        later = end - part.end
        if manner == EXTEND and later > source.facts.frame_seconds:
            self.notes.append(
                f"the part to {float(part.end):.2f} s ends {float(later):.2f} s later"
            )
        if ending.num_hidden:
            self.file.shown_until = end - first.time
        writer.end_part(at + end - first.time)
        track.end(end)
        return first.time


@dataclass(slots=True)
class _Smart:
    """Writes parts by copying packets and encoding only frames near the boundaries."""

    session: CuttingSession
    file: OutputFile

    def write(self, parts: Sequence[TimeRange]) -> Cut:
        session, packets = self.session, self.session.packets
        smart = SmartPart(session.source, packets.stream)
        plans = [Stretches.of(part, packets) for part in parts]
        writer = PacketWriter(self.file.container, self.file.copy_of(packets.stream))
        smart.writer = writer
        audio, notes = session.audio(self.file, copied=len(parts) == 1)
        track = Track(audio)
        starts: list[float] = []
        written: list[tuple[Stretches, Part, Fraction]] = []
        for plan in plans:
            at = writer.seconds
            part = smart.write(plan, session.frames, packets, at)
            writer.end_part(at + part.end - part.start)
            track.begin(part.start, at)
            track.end(part.end)
            starts.append(float(part.start))
            written.append((plan, part, at))
        track.finish(writer.seconds)
        self.file.check = lambda path: check(path, session.frames, written)
        return Cut(float(writer.seconds), tuple(starts), notes)


__all__ = ["MODES", "Cut", "CuttingSession", "Track"]
