"""Edited videos with exact ground truth, on which the bundled model is trained: shots joined by
cuts, dissolves, fades, wipes, black and freezes.

A cut is the first frame of the shot after it. Gradual transitions are all frames in which both
shots (or a shot and black) are mixed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from vtnstream.atomic import whole_file
from vtnstream.errors import OutputError
from vtnstream.progress import NullProgress, Progress
from vtnstream.synthesis.footage import Footage
from vtnstream.synthesis.looks import Look
from vtnstream.synthesis.rendering import render_all
from vtnstream.synthesis.shots import Frames, Origin, Shot, draw_near, draw_shot, draw_stretch
from vtnstream.synthesis.transitions import black, dissolve, fade_to, wipe
from vtnstream.types import Segment
from vtnstream.video.write import write_video

LABELS = ("shot", "cut", "dissolve", "fade", "wipe", "black", "freeze")
KINDS = ("continuous take", "cut", "slow transitions", "slideshow", "still")
FPS = 25
_SHARES = (0.3, 0.43, 0.15, 0.07, 0.05)
_REAL_SHARE = 0.15
"""Share of videos that are a stretch of a real edit, if there are real edits."""
_LONGEST = 40
"""Frames of the longest transition."""
_GRADUAL = ("dissolve", "fade", "wipe")
_STEPS = (1, -1, 2, 3, 6)
_STEP_SHARES = (0.66, 0.07, 0.12, 0.08, 0.07)
"""Distances between kept frames (-1: each frame twice), and how often each is drawn."""


@dataclass(slots=True)
class EditedVideo:
    """A video while it is composed: frames and the label of each."""

    kind: str
    frames: list[Frames] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    fps: Fraction = Fraction(25)

    def add(self, frames: Frames, label: str) -> None:
        self.frames.append(frames)
        self.labels += [label] * len(frames)

    def segments(self) -> list[Segment]:
        """Return stretches of equal labels in seconds; each cut is a stretch of its own."""
        found: list[Segment] = []
        start = 0
        fps = float(self.fps)
        labels = self.labels
        for i in range(1, len(labels) + 1):
            if i == len(labels) or labels[i] != labels[start] or labels[start] == "cut":
                found.append(Segment(start / fps, i / fps, labels[start], 1.0))
                start = i
        return found


def compose(footage: Footage, random: np.random.Generator) -> EditedVideo:
    """Compose one video of 64 to 320 frames."""
    if footage.edits and random.random() < _REAL_SHARE:
        return _real(footage, random)
    kind = KINDS[random.choice(len(KINDS), p=_SHARES)]
    length = int(random.integers(64, 320))
    video = EditedVideo(kind)
    if kind in ("continuous take", "still"):
        still = kind == "still"
        photo = still or bool(random.random() < 0.2)
        whole = draw_shot(footage, length, random, photo=photo, moving=not still)
        video.add(whole.frames, "shot")
        return video
    slides = kind == "slideshow"
    near = 0.0 if slides else float(random.choice([0.15, 0.5, 0.9]))
    count, join = _core_length(random, slides), _transition(kind, random)
    drawn = _next_shot(footage, None, count + _room(join), random, slides)
    shot = drawn.frames
    fresh = False  # the shot before has just ended with a cut
    while True:
        core = shot[:count]
        if fresh:
            video.add(core[:1], "cut")
            core = core[1:]
        if len(core):
            video.add(core, "shot")
        if len(video.labels) >= length:
            return video
        rest = shot[count:]
        if not slides and random.random() < 0.06:
            _freeze(video, random)
        count, following_join = _core_length(random, slides), _transition(kind, random)
        wanted = count + _room(join) + _room(following_join)
        following = None
        if random.random() < near and drawn.origin.take is not None:
            following = _near_shot(footage, video.frames[-1], drawn.origin, wanted, random)
        drawn = following or _next_shot(footage, video.frames[-1][-1], wanted, random, slides)
        shot, fresh = _join(video, rest, drawn.frames, join, random)
        join = following_join


def _real(footage: Footage, random: np.random.Generator) -> EditedVideo:
    """A stretch of a real edit through one crop, with one look."""
    lengths = np.asarray([edit.stop - edit.start for edit in footage.edits], np.float64)
    edit = footage.edits[int(random.choice(len(lengths), p=lengths / lengths.sum()))]
    length = min(int(random.integers(96, 320)), edit.stop - edit.start)
    first = int(random.integers(edit.stop - edit.start - length + 1))
    labels = ["shot"] * length
    for cut in edit.cuts:
        if first < cut < first + length:
            labels[cut - first] = "cut"
    video = EditedVideo("cut" if "cut" in labels else "continuous take")
    frames = draw_stretch(footage, edit.start + first, length, random)
    for k, label in enumerate(labels):
        video.add(frames[k : k + 1], label)
    return video


def _room(transition: str) -> int:
    """Return the frames that a shot needs for a transition at one of its ends."""
    return _LONGEST if transition in _GRADUAL else 0


def _core_length(random: np.random.Generator, slides: bool) -> int:
    if slides:
        return int(random.integers(15, 70))
    lengths = [int(random.integers(2, 9)), int(random.integers(9, 60)), 90]
    return lengths[random.choice(3, p=[0.2, 0.65, 0.15])]


def _next_shot(
    footage: Footage, before: Frames | None, count: int, random: np.random.Generator, slides: bool
) -> Shot:
    """Draw a shot of ``count`` frames that looks clearly different from the frame before it."""
    for _ in range(8):
        photo = slides or bool(random.random() < 0.25)
        moving = not slides or bool(random.random() < 0.4)
        shot = draw_shot(footage, count, random, photo=photo, moving=moving)
        if before is None or is_new(before, shot.frames[0]):
            return shot
    return shot


def _near_shot(
    footage: Footage, before: Frames, origin: Origin, count: int, random: np.random.Generator
) -> Shot | None:
    """Draw another view of the scene of ``before`` such that a viewer sees a cut; None if none was
    found."""
    for _ in range(4):
        shot = draw_near(footage, origin, count, random)
        if is_other_view(before, shot.frames):
            return shot
    return None


def is_other_view(before: Frames, after: Frames) -> bool:
    """Return whether the cut between two shots of one scene stands out from the motion around it.

    Args:
        before: (T, 64, 96, 3) frames that end with the last one before the join.
        after: the frames that follow.
    """
    values = np.concatenate((before[-4:], after[:4]))[:, ::2, ::2].astype(np.int16)
    steps = np.abs(np.diff(values, axis=0)).mean((1, 2, 3))
    join = min(4, len(before)) - 1
    motion = float(np.delete(steps, join).max(initial=0.0))
    return bool(steps[join] > max(5.0, 3 * motion))


def is_new(before: Frames, after: Frames) -> bool:
    """Return whether two frames look like two shots: by the correlation of brightness, which does
    not depend on grading, and by their difference."""
    a, b = before.mean(-1).ravel().astype(np.float64), after.mean(-1).ravel().astype(np.float64)
    dark = max(a.mean(), b.mean()) < 50
    difference = float(np.abs(before.astype(np.int16) - after).mean())
    spread = float(a.std() * b.std())
    correlation = float(((a - a.mean()) * (b - b.mean())).mean()) / spread if spread > 1 else 0.0
    return difference > (6 if dark else 14) and correlation < 0.7


def _transition(kind: str, random: np.random.Generator) -> str:
    if kind == "cut":
        return "cut" if random.random() < 0.85 else str(random.choice(["black", *_GRADUAL]))
    if kind == "slow transitions":
        return str(random.choice(_GRADUAL, p=[0.45, 0.25, 0.3]))
    return str(random.choice(["cut", "dissolve", "wipe"], p=[0.6, 0.3, 0.1]))


def _freeze(video: EditedVideo, random: np.random.Generator) -> None:
    last = video.frames[-1][-1:]
    video.add(np.repeat(last, int(random.integers(10, 40)), 0), "freeze")


def _join(
    video: EditedVideo, rest: Frames, following: Frames, kind: str, random: np.random.Generator
) -> tuple[Frames, bool]:
    """Add a transition; return the rest of the following shot, and whether its first frame is a
    cut."""
    if kind == "cut":
        return following, True
    if kind == "black":
        video.add(black(int(random.integers(4, 30)), random), "black")
        return following, True
    length = min(int(random.integers(5, _LONGEST)), len(rest))
    if length < 5:
        return following, True
    if kind == "fade":
        return _fade(video, rest[:length], following, random), False
    mix = dissolve if kind == "dissolve" else wipe
    video.add(mix(rest[:length], following[:length], random), kind)
    return following[length:], False


def _fade(
    video: EditedVideo, out: Frames, following: Frames, random: np.random.Generator
) -> Frames:
    """Fade out to black (or white), hold it, and fade in; return the rest of the new shot."""
    hold = black(int(random.integers(0, 25)) + 1, random)
    count = int(random.integers(5, _LONGEST))
    video.add(fade_to(out, hold[0], random), "fade")
    video.add(hold, "black" if len(hold) > 2 else "fade")
    video.add(fade_to(following[:count][::-1], hold[0], random)[::-1], "fade")
    return following[count:]


def resampled(frames: Frames, labels: list[str], step: int) -> tuple[Frames, list[str], Fraction]:
    """Change the frame rate: keep every ``step``-th frame, or for -1 repeat each frame.

    A cut whose frame is left out moves to the next frame that is kept. A gradual transition of
    which one frame remains becomes a cut.

    Args:
        frames: (T, H, W, 3) at 25 frames/s.
        labels: label of each frame.
        step: distance between kept frames.

    Returns:
        frames, labels and frames per second.
    """
    if step == -1:
        twice = [label for one in labels for label in (one, "shot" if one == "cut" else one)]
        return np.repeat(frames, 2, 0), twice, Fraction(2 * FPS)
    if step == 1:
        return frames, labels, Fraction(FPS)
    kept = labels[::step]
    for place, label in enumerate(labels):
        if label == "cut" and -(-place // step) < len(kept):
            kept[-(-place // step)] = "cut"
    for i, label in enumerate(kept):
        around = {kept[i - 1] if i else label, kept[i + 1] if i + 1 < len(kept) else label}
        if label in _GRADUAL and not around & set(_GRADUAL) and i:
            kept[i] = "cut"
    return np.ascontiguousarray(frames[::step]), kept, Fraction(FPS, step)


@dataclass(frozen=True, slots=True)
class EditedFile:
    """A video on disk, and its ground truth."""

    path: Path
    kind: str
    segments: tuple[Segment, ...]


def make_edited_videos(
    directory: str | Path,
    footage: str | Path,
    num_videos: int,
    *,
    seed: int = 0,
    workers: int = 2,
    progress: Progress | None = None,
) -> list[EditedFile]:
    """Write ``edit_00000.mp4`` ... into ``directory``, with ``segments.csv`` and
    ``classes.csv`` beside them for ``vtnstream train``.

    Args:
        directory: receives the videos.
        footage: folder of :func:`vtnstream.synthesis.footage.gather`.
        num_videos: number of videos.
        seed: determines all of them.
        workers: number of processes.
        progress: receives each video.

    Raises:
        OutputError: a file cannot be written.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"edit_{number:05d}.mp4" for number in range(num_videos)]
    work = partial(_make_numbered, footage=str(footage), seed=seed)
    videos = render_all(work, paths, workers=workers, progress=progress or NullProgress())
    rows = [(video.path.name, s.start, s.end, s.label) for video in videos for s in video.segments]
    _write_csv(directory / "segments.csv", ("path", "start", "end", "label"), rows)
    kinds = [(video.path.name, video.kind) for video in videos]
    _write_csv(directory / "classes.csv", ("path", "label"), kinds)
    return videos


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    try:
        with whole_file(path) as file:
            file.write(text.getvalue().encode())
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error


@lru_cache(maxsize=1)
def _opened(folder: str) -> Footage:
    """Open the footage once per process."""
    return Footage(folder)


def _make_numbered(number: int, path: Path, *, footage: str, seed: int) -> EditedFile:
    video = make_edited_video(path, _opened(footage), (seed, number))
    return EditedFile(path, video.kind, tuple(video.segments()))


def make_edited_video(path: Path, footage: Footage, seed: Sequence[int]) -> EditedVideo:
    """Compose and write one video; quality and encoder speed vary from video to video."""
    random = np.random.default_rng(list(seed))
    video = compose(footage, random)
    frames = Look.drawn(random).over(np.concatenate(video.frames), video.labels, random)
    video.frames = []
    step = int(random.choice(_STEPS, p=_STEP_SHARES)) if video.kind != "still" else 1
    frames, video.labels, video.fps = resampled(frames, video.labels, step)
    options = {
        # From veryfast on x264 looks ahead in a thread, and bytes differ from run to run.
        "preset": str(random.choice(["ultrafast", "superfast"])),
        "crf": str(
            int(random.integers(16, 38) if random.random() < 0.8 else random.integers(38, 47))
        ),
        "g": str(int(random.choice([12, 50, 250]))),
    }
    write_video(path, frames, Fraction(video.fps), options=options)
    return video
