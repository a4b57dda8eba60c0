"""Train on corrections in a process of its own, and compare before and after.

Some corrected videos are held out: the model never sees them, and both the old segments and those
of the new model are compared with the corrections on them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

from vtnstream.atomic import whole_file
from vtnstream.batch.workers.outcome import Task
from vtnstream.errors import TrainingError
from vtnstream.labels import BACKGROUND
from vtnstream.metrics.segmentation import segmentation_scores
from vtnstream.report.reading import read_report
from vtnstream.studio.correcting.exporting import TEST, TRAIN, Annotated, annotations_csv
from vtnstream.studio.correcting.timeline import EditedSegment
from vtnstream.studio.jobs.executors import TIMELINE, make_analysis
from vtnstream.studio.jobs.runner import JobStopped, Work
from vtnstream.studio.problems import InvalidProblem

ANNOTATIONS_FILE, COMPARISON_FILE, METRICS_FILE = (
    "annotations.csv",
    "comparison.json",
    "metrics.jsonl",
)
_MODEL_FOLDER, _RESULTS_FOLDER = "model", "results"
_HELD_OUT = 4
"""One of so many corrected videos is held out."""

_MIN_FOR_HOLDING_OUT = 3
_STEPS_PER_SECOND = 10
_MAX_STEPS = 200_000
_POLL_SECONDS = 0.3
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}")
_BACKBONE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,100}")
_SHARE_OF_TRAINING = 0.8


class Span(Protocol):
    """A labelled interval."""

    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...
    @property
    def label(self) -> str: ...


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What to train.

    Attributes:
        name: of the new model.
        backbone: a timm model; empty chooses the installed weights.
        pretrained: load its published weights.
        epochs: passes over the videos; None leaves it to the recipe.
        fps: frames per second; None leaves it to the defaults.
    """

    name: str
    backbone: str = ""
    pretrained: bool = False
    epochs: int | None = None
    fps: float | None = None

    def check(self) -> None:
        """
        Raises:
            InvalidProblem: a value cannot be used.
        """
        if not _NAME.fullmatch(self.name):
            raise InvalidProblem("name: letters, digits, dots, dashes and underscores only")
        if self.backbone and not _BACKBONE.fullmatch(self.backbone):
            raise InvalidProblem("backbone: the name of a timm model")
        if self.epochs is not None and not 1 <= self.epochs <= 10_000:
            raise InvalidProblem("epochs must be between 1 and 10000")
        if self.fps is not None and not 0 < self.fps <= 240:
            raise InvalidProblem("fps must be between 0 and 240")

    def arguments(self) -> list[str]:
        """As options of ``vtnstream train``."""
        found = ["--backbone", self.backbone] if self.backbone else []
        found += ["--pretrained"] if self.pretrained else []
        found += [] if self.epochs is None else ["--epochs", str(self.epochs)]
        return found + ([] if self.fps is None else ["--fps", f"{self.fps:g}"])


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A held-out video before and after.

    Attributes:
        id: of its result.
        name: of the video.
        before, after: percent of the time whose label agrees with the corrections.
        truth, old, new: start, end and label of each segment.
        unseen: labels of the corrections that no training video has: the new model cannot find
            them.
    """

    id: str
    name: str
    before: float
    after: float
    truth: tuple[tuple[float, float, str], ...]
    old: tuple[tuple[float, float, str], ...]
    new: tuple[tuple[float, float, str], ...]
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HeldOutVideo:
    """A video that a training would hold out; ``unseen`` as in :class:`HeldOut`."""

    id: str
    name: str
    unseen: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What a training would learn from.

    Attributes:
        videos: number of corrected videos whose file is at hand.
        held_out: those of them that are held out.
    """

    videos: int
    held_out: tuple[HeldOutVideo, ...]


def training_plan(videos: Sequence[Annotated]) -> TrainingPlan:
    """What a training on these videos would learn from."""
    chosen = splits(videos)
    unseen = unseen_labels(videos, chosen)
    held = [video for video in videos if chosen[video.id] == TEST]
    return TrainingPlan(
        len(videos), tuple(HeldOutVideo(v.id, v.video.name, unseen[v.id]) for v in held)
    )


def unseen_labels(
    videos: Sequence[Annotated], chosen: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """Id of each held-out video -> its labels that no training video has."""
    taught = {s.label for v in videos if chosen[v.id] == TRAIN for s in v.segments}
    return {
        v.id: tuple(sorted({s.label for s in v.segments} - taught))
        for v in videos
        if chosen[v.id] == TEST
    }


def splits(videos: Sequence[Annotated]) -> dict[str, str]:
    """Which corrected videos are held out: a stable choice, so that models can be compared.

    Videos come first whose labels all occur in a video that is trained on, because a model cannot
    find the others.
    """
    order = sorted(videos, key=lambda v: hashlib.sha256(v.id.encode()).hexdigest())
    count = 0 if len(videos) < _MIN_FOR_HOLDING_OUT else max(1, len(videos) // _HELD_OUT)
    left = Counter(label for video in videos for label in {s.label for s in video.segments})
    held: list[str] = []
    for video in order:
        labels = {s.label for s in video.segments}
        if len(held) < count and all(left[label] > 1 for label in labels):
            held.append(video.id)
            left.subtract(labels)
    held += [video.id for video in order if video.id not in held][: count - len(held)]
    return {video.id: TEST if video.id in held else TRAIN for video in order}


def write_annotations(videos: Sequence[Annotated], path: Path) -> dict[str, str]:
    """Write the corrections as annotations, with a column of held-out videos.

    Returns:
        id -> ``train`` or ``test``.

    Raises:
        InvalidProblem: nothing was corrected.
        OSError: the file cannot be written.
    """
    if not videos:
        raise InvalidProblem(
            "nothing to learn from: correct or check some videos first, and see that their files "
            "lie in the folders of the studio"
        )
    chosen = splits(videos)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(annotations_csv(videos, splits=chosen).encode())
    return chosen


def teach(
    work: Work,
    videos: Sequence[Annotated],
    old: Mapping[str, Sequence[EditedSegment]],
    folder: Path,
) -> dict[str, Any]:
    """Train a model and compare it; the handler of ``train``.

    Args:
        work: the job; its request is a :class:`TrainRequest`.
        videos: the corrected videos.
        old: id -> segments before corrections.
        folder: of the new model and everything about it.

    Raises:
        TrainingError: training failed.
    """
    request = TrainRequest(**work.job.request)
    chosen = write_annotations(videos, folder / ANNOTATIONS_FILE)
    model = folder / _MODEL_FOLDER
    work.progress(0.0, "training")
    _train(work, folder / ANNOTATIONS_FILE, model, request)
    work.progress(_SHARE_OF_TRAINING, "comparing on held-out videos")
    held = [video for video in videos if chosen[video.id] == TEST]
    unseen = unseen_labels(videos, chosen)
    compared = [
        replace(one, unseen=unseen[one.id])
        for one in _compared(work, held, old, model, folder / _RESULTS_FOLDER)
    ]
    with whole_file(folder / COMPARISON_FILE) as file:
        file.write(json.dumps([asdict(one) for one in compared]).encode())
    note = f"trained on {len(videos) - len(held)} videos"
    if compared:
        before = sum(one.before for one in compared) / len(compared)
        after = sum(one.after for one in compared) / len(compared)
        note += (
            f"; agreement on {len(compared)} held out: {before:.1f} % before, {after:.1f} % after"
        )
        alien = sorted({label for one in compared for label in one.unseen})
        if alien:
            note += f"; no training video has {', '.join(alien[:5])}"
    return {"note": note, "model": str(model), "name": request.name}


def _train(work: Work, annotations: Path, model: Path, request: TrainRequest) -> None:
    """Run ``vtnstream train``. After a restart of the studio the same command continues the run."""
    command = [sys.executable, "-m", "vtnstream", "train", str(annotations), "-o", str(model)]
    finished = (model / "config.json").is_file() and not (model / "unfinished.pt").exists()
    command += ["--overwrite"] if finished else []
    command += ["--progress", "plain", *request.arguments()]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
    )
    assert process.stderr is not None
    lines: list[str] = []
    reader = threading.Thread(target=_keep_last, args=(process.stderr, lines), daemon=True)
    reader.start()
    try:
        while process.poll() is None:
            work.progress(0.0, lines[-1][:200] if lines else "training")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_SECONDS)
    except JobStopped:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        process.wait()
        reader.join()
        process.stderr.close()
    if process.returncode != 0:
        error = next((x for x in reversed(lines) if "error:" in x), "training ended unexpectedly")
        raise TrainingError(error.partition("error: ")[2] or error)


def _die_with_parent() -> None:
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _keep_last(stream: IO[str], lines: list[str]) -> None:
    for line in stream:
        if line.strip():
            lines.append(line.strip())
            del lines[:-50]


def _compared(
    work: Work,
    held: Sequence[Annotated],
    old: Mapping[str, Sequence[EditedSegment]],
    model: Path,
    output: Path,
) -> list[HeldOut]:
    if not held:
        return []
    output.mkdir(parents=True, exist_ok=True)
    tasks = [Task(str(video.video), video.id) for video in held]
    work.run(partial(make_analysis, str(model), TIMELINE, str(output)), tasks)
    found = []
    for video in held:
        path = output / f"{video.id}.json"
        if path.is_file():
            new = read_report(path).segments or ()
            before, after = old[video.id], new
            found.append(
                HeldOut(
                    video.id,
                    video.video.name,
                    agreement(before, video.segments),
                    agreement(after, video.segments),
                    _spans(video.segments),
                    _spans(before),
                    _spans(after),
                )
            )
    return found


def agreement(found: Sequence[Span], truth: Sequence[Span]) -> float:
    """Percent of the time in which two timelines have the same label; time without a segment is
    background. Time is cut into tenths of a second, or longer steps for very long videos."""
    end = max((s.end for s in (*found, *truth)), default=0.0)
    steps = max(1, min(_MAX_STEPS, round(end * _STEPS_PER_SECOND)))
    step = max(end, 1e-6) / steps
    return segmentation_scores(
        [(_labels(found, steps, step), _labels(truth, steps, step))]
    ).frame_accuracy


def _labels(segments: Sequence[Span], steps: int, step: float) -> list[str]:
    labels = [BACKGROUND] * steps
    for segment in segments:
        first, last = round(segment.start / step), min(steps, round(segment.end / step))
        labels[first:last] = [segment.label] * max(0, last - first)
    return labels


def _spans(segments: Sequence[Span]) -> tuple[tuple[float, float, str], ...]:
    return tuple((s.start, s.end, s.label) for s in segments)
