"""Train the bundled model from a folder of footage, and score it.

    python -m benchmarks edit_model --data REAL --footage FOLDER... --work FOLDER --start bundled

gathers raw material (the files of REAL that weights may learn from, with their truth, and all of
the footage folders), renders edited videos with exact truth, trains ``configs/train/edits.toml``
on them by ``vtnstream train`` (from the weights of ``--start``, or in two stages from random
ones), and scores the model on videos of ``--test-footage`` beside PySceneDetect (``pip install
scenedetect``). ``python -m benchmarks edit_fit`` then fits how its scores are judged. The
results of each step are kept in the work folder. ``--model`` scores a finished model.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import common
from benchmarks.commands import VTNSTREAM, alternate, python
from benchmarks.edit_scores import Events, Scores, events_of
from benchmarks.footage import read_footage
from vtnstream.types import Segment

if TYPE_CHECKING:
    from vtnstream.synthesis.footage import KnownEdits
    from vtnstream.synthesis.shots import Frames
    from vtnstream.training.records import EpochRecord

CONFIG = Path(__file__).parents[1] / "configs" / "train" / "edits.toml"
FPS = 25
TRAIN_SEED, CHOICE_SEED, TEST_SEED = 1, 50, 99
BEST_CUTS, BEST_GRADUALS = 0.95, 0.85

SECOND_STAGE = {"optim.epochs": 6, "optim.learning_rate": 1e-3, "optim.warmup": 0.1}
"""Settings of the second stage, which starts from the first model."""

LabelledVideo = tuple[Path, list[Segment]]


def main(arguments: list[str]) -> None:
    parser = common.parser("edit_model", __doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for videos and the model")
    parser.add_argument("--data", type=Path, help="real videos with truth (benchmarks.footage)")
    parser.add_argument("--footage", type=Path, nargs="*", default=[], help="files and folders")
    parser.add_argument("--start", metavar="MODEL", help="fine-tune this folder, or 'bundled'")
    parser.add_argument("--test-footage", type=Path, nargs="*", default=[])
    parser.add_argument("--videos", type=int, default=2600)
    parser.add_argument("--choice-videos", type=int, default=150)
    parser.add_argument("--test-videos", type=int, default=72)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--model", help="score this model instead of training one")
    parser.add_argument("--long", type=int, default=0, metavar="MINUTES", help="one more video")
    parser.add_argument("--test-seed", type=int, default=TEST_SEED)
    parser.add_argument("--truth", type=Path, help="CSV path,start,end,label of your own videos")
    parser.add_argument("--speed", type=Path, metavar="VIDEO", help="time whole commands on it")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    settings = {"videos": options.videos, "test videos": options.test_videos}
    result = common.Result("edit_model", settings)
    model = options.model or str(_made(options, result))
    if options.test_footage or (options.work / "test" / "segments.csv").exists():
        videos = _videos(
            options, "test", options.test_footage, options.test_videos, options.test_seed
        )
        _score(result, model, videos, f"{len(videos)} videos of the test footage")
        if options.long:
            long = _long_video(options.work, options.long, options.test_seed)
            _score(result, model, [long], f"one video of {options.long} minutes")
    else:
        result.notes.append("no --test-footage: not scored on videos of footage that is new to it")
    if options.truth:
        own = read_truth(options.truth)
        _score(result, model, own, f"{len(own)} files of {options.truth.name}")
    if options.speed:
        speed_table(result, model, options.speed, options.runs)
    result.deliver(options)


def _made(options: Any, result: common.Result) -> Path:
    """Train unless the model exists: from ``--start`` in one stage, else in two."""
    from vtnstream.config.shipped import bundled_model
    from vtnstream.training.run import train
    from vtnstream.training.settings import parse_assignments, train_config

    folder: Path = options.work / "model"
    if not (folder / "train.json").exists():
        _videos(options, "train", options.footage, options.videos, TRAIN_SEED)
        values = parse_assignments(options.set) | {
            "annotations": str(options.work / "train" / "segments.csv"),
            "class_annotations": str(options.work / "train" / "classes.csv"),
            "output": str(folder),
        }
        start = bundled_model() if options.start == "bundled" else options.start
        if start is None:
            start = str(options.work / "first")
            train(train_config(CONFIG, values | {"output": start}))
        trained = train(
            train_config(CONFIG, SECOND_STAGE | values | {"start": str(start)}),
            on_epoch=_say_epoch,
        )
        result.notes.append(f"trained for {trained.seconds / 60:.0f} minutes")
    _videos(options, "choice", options.footage, options.choice_videos, CHOICE_SEED)
    return folder


def _say_epoch(record: EpochRecord, best: int) -> None:
    common.say(f"epoch {record.epoch}: loss {record.loss:.3f}, {dict(record.validation)}")


def _videos(
    options: Any, name: str, sources: Sequence[Path], count: int, seed: int
) -> list[LabelledVideo]:
    """Return rendered videos of this name, rendering those that do not exist.

    Training and choice share their footage.
    """
    from vtnstream.synthesis.edits import make_edited_videos
    from vtnstream.synthesis.footage import gather

    folder: Path = options.work / name
    if not (folder / "segments.csv").exists():
        known = _known(options.data) if options.data and name != "test" else {}
        if not sources and not known:
            raise SystemExit(f"{folder}: no videos there, and no footage named to make them of")
        raw = options.work / ("test_footage" if name == "test" else "footage")
        if not (raw / "takes.json").exists():
            gather([*known, *sorted(_files(sources))], raw, known=known)
        make_edited_videos(folder, raw, count, seed=seed, workers=options.workers)
    return read_truth(folder / "segments.csv")


def _known(data: Path) -> dict[Path, KnownEdits]:
    """Return the real videos that weights may learn from, with their truth."""
    from vtnstream.synthesis.footage import KnownEdits

    found = {}
    for video in read_footage(data):
        if video.part == "learnt from":
            spans = sorted((*video.frames_of("graduals"), *video.frames_of("open")))
            cuts = tuple(first for first, _ in video.frames_of("cuts"))
            found[video.path] = KnownEdits(cuts, tuple(spans))
    return found


def _long_video(work: Path, minutes: int, seed: int) -> LabelledVideo:
    """Render several videos one after the other into one file."""
    from vtnstream.synthesis.edits import EditedVideo, compose, is_new
    from vtnstream.synthesis.footage import Footage
    from vtnstream.synthesis.looks import Look
    from vtnstream.video.write import write_video

    footage = Footage(work / "test_footage")
    whole = EditedVideo("cut")

    def frames() -> Iterator[Frames]:
        last: Frames | None = None
        number = 0
        while len(whole.labels) < minutes * 60 * FPS:
            random = np.random.default_rng((seed, 1, number))
            video = compose(footage, random)
            pictures = Look.drawn(random).over(np.concatenate(video.frames), video.labels, random)
            number += 1
            if last is not None and not is_new(last, pictures[0]):
                continue
            if last is not None:
                video.labels[0] = "cut"
            whole.labels += video.labels
            last = pictures[-1]
            yield from pictures

    path = work / f"long_{minutes}.mp4"
    write_video(path, frames(), Fraction(FPS))
    return path, whole.segments()


def _files(sources: Sequence[Path]) -> list[Path]:
    found = []
    for source in sources:
        found += [p for p in source.rglob("*") if p.is_file()] if source.is_dir() else [source]
    return found


def read_truth(path: Path) -> list[LabelledVideo]:
    """Read the videos of a CSV ``path,start,end,label``, in order."""
    videos: dict[Path, list[Segment]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            segment = Segment(float(row["start"]), float(row["end"]), row["label"], 1.0)
            videos.setdefault(path.parent / row["path"], []).append(segment)
    return list(videos.items())


def _score(result: common.Result, model: str, videos: Sequence[LabelledVideo], title: str) -> None:
    """Make the table of vtnstream and PySceneDetect on the same files."""
    finders: dict[str, Callable[[Path], Events | list[int]]] = {"vtnstream": _ours(model)}
    try:
        finders |= _scenedetect()
    except ImportError:
        result.notes.append("PySceneDetect is not installed: pip install scenedetect")
    table = result.table(
        title,
        *("finder", "cut P", "cut R", "cut F1 strict", "lenient"),
        *("gradual P", "gradual R", "gradual F1", "at IoU .5", "false in videos without edits"),
    )
    found: dict[str, Scores] = {}
    for name, find in finders.items():
        scores = found[name] = Scores()
        for number, (path, truth) in enumerate(videos):
            events, wanted = find(path), events_of(truth, _rate(path))
            if isinstance(events, Events):
                scores.add(events, wanted)
            else:
                scores.add_points(events, wanted)
            common.say(f"{name}: {number + 1} of {len(videos)}")
        row = (scores.strict.precision, scores.strict.recall, scores.strict.f1, scores.lenient.f1)
        gradual = scores.gradual
        half = scores.gradual_half.f1 if scores.gradual_half.wanted else None
        table.add(
            *(name, *row, gradual.precision, gradual.recall, gradual.f1, half),
            scores.false_events,
        )
    ours = found["vtnstream"]
    result.target(f"{title}: hard cuts, strict F1", ours.strict.f1, BEST_CUTS)
    result.target(f"{title}: gradual, F1", ours.gradual.f1, BEST_GRADUALS)
    for name, other in found.items():
        if name != "vtnstream":
            result.target(f"{title}: cuts beside {name}", ours.strict.f1, other.strict.f1)
            result.target(f"{title}: gradual beside {name}", ours.gradual.f1, other.gradual.f1)


def _ours(model: str) -> Callable[[Path], Events]:
    from vtnstream.analyzer import Analyzer
    from vtnstream.config import RuntimeConfig, TimelineConfig
    from vtnstream.inference.request import Request

    analyzer = Analyzer(model, runtime=RuntimeConfig(use_cache=False))

    def find(path: Path) -> Events:
        report = analyzer.timeline(path, Request(), TimelineConfig())
        return events_of(report.segments or (), _rate(path))

    return find


@cache
def _rate(path: Path) -> Fraction:
    """Return the frames per second of a video."""
    from vtnstream.video.probe import probe

    return probe(path).average_rate or Fraction(FPS)


def _scenedetect() -> Mapping[str, Callable[[Path], list[int]]]:
    """Return both detectors of PySceneDetect at their defaults; each finds the first frames of
    scenes."""
    import scenedetect

    def finder(make: Callable[[], Any]) -> Callable[[Path], list[int]]:
        def find(path: Path) -> list[int]:
            scenes = scenedetect.detect(str(path), make())
            return [start.frame_num for start, _ in scenes[1:]]

        return find

    return {
        "detect-content": finder(scenedetect.ContentDetector),
        "detect-adaptive": finder(scenedetect.AdaptiveDetector),
    }


def speed_table(result: common.Result, model: str | None, video: Path, runs: int) -> None:
    """Measure whole processes, from the start to the list of shots."""
    detect = (*python("from scenedetect.__main__ import main; main()"), "-q", "-i", video)
    named = ("--model", model) if model else ()
    quiet = (*named, "--no-cache", "--quiet", "--json")
    commands = {
        "vtnstream timeline": (*VTNSTREAM, "timeline", video, *quiet),
        "scenedetect detect-content": (*detect, "detect-content", "list-scenes", "-n"),
        "scenedetect detect-adaptive": (*detect, "detect-adaptive", "list-scenes", "-n"),
    }
    found = alternate(commands, runs)
    table = result.table(f"Whole commands on {video.name}", "command", "wall s", "CPU s", "peak MB")
    for name, done in found.items():
        table.add(name, done.wall, done.cpu, done.peak / 2**20)
    fastest = min(done.wall for name, done in found.items() if "scenedetect" in name)
    ratio = found["vtnstream timeline"].wall / fastest
    result.target("wall beside the faster of scenedetect's", ratio, 1.0, at_most=True)
