"""One result with its corrections, as the page of a video needs it."""

from __future__ import annotations

import dataclasses
import math
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from vtnstream.errors import ReportError
from vtnstream.localization.edit_style import with_shot_numbers
from vtnstream.report.facts import edit_facts, run_facts, video_facts
from vtnstream.report.page.contents import answer_lines, partial_lines
from vtnstream.report.page.timeline import colors_of
from vtnstream.report.reading import read_reports
from vtnstream.report.terminal.glyphs import UNICODE, label_colors, printable
from vtnstream.studio.correcting.journal import Base, Journal, State
from vtnstream.studio.correcting.timeline import MODEL, EditedSegment
from vtnstream.studio.folders import Workspace
from vtnstream.studio.problems import InvalidProblem, NotFoundProblem
from vtnstream.studio.results.index import Index
from vtnstream.types import Report, ScoreCurve, Segment

_CACHED = 16
_MIN_SWING = 0.1
"""A score that stays within this range says nothing over time, and gets no lane."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A result, read.

    Attributes:
        id: of the result.
        path: its file.
        report: its content.
        base: its segments before corrections.
        video: the video, or None.
        no_video: why there is none, or empty.
    """

    id: str
    path: Path
    report: Report
    base: Base
    video: Path | None
    no_video: str


@dataclass(frozen=True, slots=True)
class Lane:
    """A curve over time.

    Attributes:
        name, color: for people.
        start, end: its bounds in seconds.
        values: mean of equal parts; None where nothing was read.
        top: the value drawn at full height.
    """

    name: str
    color: str
    start: float
    end: float
    values: tuple[float | None, ...]
    top: float


@dataclass(frozen=True, slots=True)
class Corrected:
    """The segments of a result and what can be done with them.

    Attributes:
        revision: number of changes; a change must name it.
        segments: by time.
        colors: label -> colour.
        can_undo, can_redo: whether there is something to take back or to repeat.
        checked: whether a person has looked through all of it.
        remade: the result file was made again after these corrections began.
    """

    revision: int
    segments: tuple[EditedSegment, ...]
    colors: dict[str, str]
    can_undo: bool
    can_redo: bool
    checked: bool
    remade: bool


@dataclass(frozen=True, slots=True)
class Document:
    """Everything that the page of a video shows.

    Attributes:
        summary: sentences on top: edit facts (until a correction), the video, the run.
        notes: warnings, what is partial, answers of a search.
        classes: label and probability of the best classes.
        start, end: bounds of the timeline in seconds.
        frame_seconds: length of a frame, for keys that move by one.
        gaps: spans without frames.
        no_video: why the video cannot be shown, or empty.
    """

    id: str
    name: str
    path: str
    model: str
    summary: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    partial: tuple[str, ...]
    classes: tuple[tuple[str, float], ...]
    start: float
    end: float
    frame_seconds: float
    gaps: tuple[tuple[float, float], ...]
    lanes: tuple[Lane, ...]
    no_video: str
    corrected: Corrected


class Documents:
    """Reads results and joins them with their corrections.

    Args:
        workspace: the folders.
        index: finds a result by its id.
        journal: the corrections.
    """

    def __init__(self, workspace: Workspace, index: Index, journal: Journal) -> None:
        self._workspace, self._index, self._journal = workspace, index, journal
        self._cache: OrderedDict[tuple[str, int, int], Loaded] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, name: str) -> Loaded:
        """Read a result.

        Raises:
            NotFoundProblem: there is none of this id, or its file is gone.
            InvalidProblem: the file holds no result any more.
        """
        row = self._index.find(name)
        path = self._workspace.allowed(self._workspace.home / row["path"])
        if path is None or row["state"] not in ("done", "partial"):
            raise NotFoundProblem(row["problem"] or f"{row['name']}: there is no result file")
        status = path.stat()
        key = (name, status.st_mtime_ns, status.st_size)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        loaded = self._read(name, path, row["position"])
        with self._lock:
            self._cache[key] = loaded
            while len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        return loaded

    def _read(self, name: str, path: Path, position: int) -> Loaded:
        try:
            reports, problems = read_reports(path)
        except ReportError as error:
            raise InvalidProblem(str(error)) from error
        if position >= len(reports):
            raise InvalidProblem(problems[0] if problems else f"{path}: the result is gone")
        report = reports[position]
        video = self._workspace.video_of(report.input, path.parent)
        base = Base(
            name,
            self._workspace.relative(path),
            printable(report.input),
            tuple(_edited(k, segment) for k, segment in enumerate(report.segments or ())),
            _limit(report),
        )
        why = self._no_video(report, video)
        return Loaded(name, path, report, base, None if why else video, why)

    def _no_video(self, report: Report, video: Path | None) -> str:
        if video is None:
            folder = printable(os.path.dirname(report.input)) or "its folder"
            return (
                f"The video {printable(report.input)} does not lie in the folders of this studio: "
                f"start it with --videos {folder}"
            )
        if video.stat().st_size != report.video.size_bytes:
            return f"{video}: is not the analysed video: its size differs"
        return ""

    def state(self, loaded: Loaded) -> State:
        """The corrected timeline."""
        return self._journal.state(loaded.base)

    def corrected(self, loaded: Loaded, state: State | None = None) -> Corrected:
        """The segments as they are now, for a client."""
        state = state or self.state(loaded)
        segments = state.timeline.ordered()
        return Corrected(
            state.revision,
            segments,
            _colors(loaded.report, segments),
            bool(state.undo),
            bool(state.redo),
            state.timeline.checked,
            state.remade,
        )

    def document(self, name: str) -> Document:
        """A result as its page shows it; errors as :meth:`load`."""
        loaded = self.load(name)
        report, corrected = loaded.report, self.corrected(loaded)
        counts = [] if corrected.revision else edit_facts(report)  # they count the model's shots
        facts = (counts, video_facts(report, UNICODE), run_facts(report, UNICODE))
        return Document(
            id=name,
            name=printable(os.path.basename(report.input) or report.input),
            path=loaded.base.result,
            model=printable(str(report.model.get("name") or "")),
            summary=tuple(tuple(map(printable, line)) for line in facts if line),
            notes=(*map(printable, report.warnings), *answer_lines(report)),
            partial=tuple(partial_lines(report)),
            classes=tuple((printable(c.label), _finite(c.score)) for c in report.classes[:5]),
            start=report.start_seconds,
            end=loaded.base.limit,
            frame_seconds=_frame_seconds(report),
            gaps=report.partial.gaps if report.partial else (),
            lanes=tuple(_lanes(report, corrected.colors)),
            no_video=loaded.no_video,
            corrected=corrected,
        )

    def corrected_report(self, loaded: Loaded) -> Report:
        """The result with the segments as they are now, for writers of formats."""
        state = self.state(loaded)
        if loaded.report.segments is None and not state.revision:
            return loaded.report
        segments = tuple(
            Segment(s.start, s.end, s.label, math.nan if s.score is None else s.score, s.track)
            for s in state.timeline.ordered()
        )
        if any(s.shot is not None for s in loaded.report.segments or ()):
            segments = tuple(with_shot_numbers(segments))
        known = dict.fromkeys((*loaded.report.labels, *(s.label for s in segments)))
        run = loaded.report.run
        if state.revision:  # the counts of the model no longer hold
            run = {key: value for key, value in run.items() if key != "edits"}
        return dataclasses.replace(loaded.report, segments=segments, labels=tuple(known), run=run)


def _edited(number: int, segment: Segment) -> EditedSegment:
    score = segment.score if math.isfinite(segment.score) else None
    return EditedSegment(
        f"m{number}", segment.start, segment.end, _valid(segment.label), MODEL, score, segment.track
    )


def _valid(label: str) -> str:
    """The label; one that no JSON document can hold, with escapes in place of its surrogates."""
    return label.encode("utf-8", "backslashreplace").decode()


def _limit(report: Report) -> float:
    ends = [report.end_seconds, *(segment.end for segment in report.segments or ())]
    duration = report.video.duration_from_header
    if report.partial is not None and duration is not None and 0 < duration < 1e8:
        ends.append(float(duration))
    return max(max(ends), 1e-3)


def _frame_seconds(report: Report) -> float:
    rate = report.frame_rate or report.video.average_rate
    return float(1 / rate) if rate and 1 <= rate <= 1000 else 0.04


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _colors(report: Report, segments: tuple[EditedSegment, ...]) -> dict[str, str]:
    """The colours of the static page; labels that a person added come after the model's."""
    first = colors_of(report)
    more = dict.fromkeys(s.label for s in segments if s.label not in first)
    return {**label_colors([*first, *more]), **first} if more else first


def _lanes(report: Report, colors: dict[str, str]) -> list[Lane]:
    """The attention and those scores that change over time."""
    found: list[Lane] = []
    if report.attention is not None:
        curve = report.attention
        top = max((v for v in curve.values if v is not None), default=0.0) or 1.0
        found.append(Lane("attention", "#b0568f", curve.start, curve.end, curve.values, top))
    for score in report.scores:
        known = [value for value in score.values if value is not None]
        if known and max(known) - min(known) >= _MIN_SWING:
            found.append(_score_lane(score, colors))
    return found


def _score_lane(score: ScoreCurve, colors: dict[str, str]) -> Lane:
    name = printable(score.label) + (f" [{score.track}]" if score.track else "")
    color = colors.get(score.label, "#8a8a8a")
    return Lane(name, color, score.start, score.end, score.values, 1.0)
