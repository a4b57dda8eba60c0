"""``vtnstream evaluate``: evaluate a model, or stored predictions, on annotations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vtnstream.cli.confusion import print_confusion, write_confusion
from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.fields import attach, option
from vtnstream.cli.framework.progress import CommandProgress
from vtnstream.cli.framework.tables import print_facts, print_table
from vtnstream.cli.framework.types import complete_files
from vtnstream.cli.learning_curve import print_learning_curve
from vtnstream.cli.options import running, shared
from vtnstream.cli.options.input_list import Input, InputList
from vtnstream.cli.options.orders import (
    ORDERS,
    check_online,
    refuse_idle,
    resolve_order,
    views_of,
)
from vtnstream.cli.session import for_each
from vtnstream.config.train import UNLABELLED
from vtnstream.datasets.annotations import FORMATS, AnnotatedVideo, Annotations, read_annotations
from vtnstream.errors import AnnotationError, UsageError
from vtnstream.labels import BACKGROUND, normal_form
from vtnstream.wording import plural

if TYPE_CHECKING:
    from vtnstream.config import HeadConfig
    from vtnstream.evaluation import Evaluation, Judged
    from vtnstream.types import Partial

_EXAMPLES = """
vtnstream evaluate test.csv --model models/actions
vtnstream evaluate test.csv --model vtn-vit-b-kinetics --order multi-view
vtnstream evaluate phases.csv --model models/surgery --split test --phases --order online
vtnstream evaluate test.csv --model models/actions --shuffle 0
vtnstream evaluate labels.csv --model models/actions --learning-curve
vtnstream evaluate activity_net.v1-3.min.json --split validation --predictions results.json
"""
_SECTION = "Evaluation"


@click.command(cls=Command, examples=_EXAMPLES)
@click.argument("annotations", metavar="ANNOTATIONS", shell_complete=complete_files)
@shared.model
@attach(
    option(
        "--predictions",
        section="Model",
        settable=False,
        metavar="PATH",
        help="Evaluate stored results: reports (folder, JSON, JSONL) or ActivityNet JSON.",
    ),
    option(
        "--order",
        section=_SECTION,
        type=click.Choice(list(ORDERS)),
        metavar="NAME",
        help=f"Evaluation protocol: {', '.join(ORDERS)} [default: full-video for classes, offline "
        "for segments].",
    ),
    option(
        "--shuffle",
        section=_SECTION,
        settable=False,
        type=click.IntRange(min=0),
        metavar="SEED",
        help="Shuffle the frames, to measure how much the model uses their order.",
    ),
    option("--split", section=_SECTION, metavar="NAME", help="Use only videos of this split."),
    option("--fold", section=_SECTION, metavar="NAME", help="Use only videos of this fold."),
    option(
        "--annotation-format",
        section=_SECTION,
        type=click.Choice(["auto", *FORMATS]),
        default="auto",
        show_default=True,
        metavar="NAME",
        help=f"Format of the annotations: auto, {', '.join(FORMATS)}.",
    ),
    option("--videos", section=_SECTION, metavar="DIR", help="Folder of the videos."),
    option(
        "--unlabelled",
        section=_SECTION,
        type=click.Choice(UNLABELLED),
        default="auto",
        show_default=True,
        help="Frames without a label; auto ignores them if the model has no background class.",
    ),
    option(
        "--confusion",
        section=_SECTION,
        settable=False,
        metavar="FILE",
        help="Write the confusion of classes as a PNG.",
    ),
    option(
        "--learning-curve",
        section=_SECTION,
        settable=False,
        is_flag=True,
        help="Train the model's recipe on parts of ANNOTATIONS, to see whether more would help.",
    ),
    option("--phases", section=_SECTION, is_flag=True, help="Also compute surgical phase metrics."),
    option(
        "--frame-rate",
        section=_SECTION,
        type=click.FloatRange(min=0, min_open=True),
        metavar="X",
        help="Frames per second of frame-wise metrics and of annotations in frames [default: 10].",
    ),
)
@shared.timeline
@shared.as_json
@running.runtime
@running.messages
@click.pass_obj
def evaluate(console: Console, /, **values: Any) -> ExitCode:
    """Evaluate a model, or stored predictions, on ANNOTATIONS.

    For classes of videos: top-1 and top-5, per class, confusion, calibration. For segments: mAP
    at tIoU, frame accuracy, edit score, F1@{10,25,50} and metrics per phase.
    """
    if (values["model"] is None) == (values["predictions"] is None):
        raise UsageError("give a model with --model, or stored results with --predictions")
    if values["shuffle"] is not None and values["model"] is None:
        raise UsageError("--shuffle needs a model: name it with --model")
    found = read_annotations(
        values["annotations"],
        format=values["annotation_format"],
        videos=values["videos"],
        check_files=values["model"] is not None,
        overlapping=True,
    )
    for warning in found.warnings:
        console.warn(warning)
    if values["learning_curve"]:
        videos = _selected(found, values["split"], values["fold"])
        print_learning_curve(console, values, found, videos, running.runtime_from(values))
        return ExitCode.OK
    refuse_idle(values, segments=found.has_segments)
    order = resolve_order(values["order"], segments=found.has_segments)
    if values["window"] is not None and not found.has_segments:
        console.warn(
            "--window has no effect: it is for segments, and these annotations are classes"
        )
    videos = _selected(found, values["split"], values["fold"])
    if values["predictions"] is not None:
        code, judged = ExitCode.OK, _from_predictions(found, videos, values, console)
        labels: tuple[str, ...] = ()
    else:
        code, judged, labels = _from_model(found, videos, order, values, console)
    if not judged:
        raise AnnotationError(f"{values['annotations']}: no video could be evaluated")
    evaluation = _evaluation(found, judged, values, labels)
    count = sum(one.is_annotated for one in judged)
    left_out = len(videos) - count
    if values["confusion"] is not None:
        write_confusion(Path(values["confusion"]), evaluation.confusion)
    _print(console, evaluation, count, left_out, order, values)
    return code


def _selected(
    annotations: Annotations, split: str | None, fold: str | None
) -> list[AnnotatedVideo]:
    """Return the videos to evaluate.

    Raises:
        AnnotationError: no video is in this split and fold.
    """
    from vtnstream.datasets.lines import split_named

    wanted = split_named(split, "--split")
    chosen = [
        video
        for video in annotations.videos
        if (wanted is None or video.split == wanted) and (fold is None or video.fold == fold)
    ]
    if not chosen:
        raise AnnotationError(f"{annotations.source}: no video in that split or fold")
    return chosen


def _from_predictions(
    annotations: Annotations,
    videos: list[AnnotatedVideo],
    values: Mapping[str, Any],
    console: Console,
) -> list[Judged]:
    """Return the annotated videos with their predictions, in the order of the predictions.

    A video without a prediction counts as one without segments. A result file of ActivityNet is
    read as its script does: videos that are not among the annotated ones count as false
    positives. Both give a warning.
    """
    from vtnstream.evaluation import Judged
    from vtnstream.predictions import Prediction, read_predictions

    path, rate = values["predictions"], values["frame_rate"]
    rate = None if rate is None else Fraction(str(rate))
    predictions = read_predictions(path)
    judged: list[tuple[int, Judged]] = []
    absent = []
    for video in videos:
        name = predictions.name_of(video.path)
        if name is None:
            absent.append(video.path.name)
            if not annotations.has_segments:
                continue
        said = Prediction() if name is None else predictions[name]
        one = Judged(
            video, rate, said.seconds, said.classes, said.segments or (), said.info, said.frames
        )
        judged.append((predictions.place(name), one))
    if absent:
        shown = ", ".join(absent[:5]) + (" ..." if len(absent) > 5 else "")
        console.warn(f"{path}: no prediction for {len(absent)} of {len(videos)} videos: {shown}")
    if predictions.whole and annotations.has_segments:
        named = videos if annotations.source.suffix == ".json" else annotations.videos
        others = predictions.others(video.path for video in named)
        for name in others:
            said = predictions[name]
            stranger = AnnotatedVideo(Path(name), ())
            one = Judged(stranger, segments=said.segments or (), is_annotated=False)
            judged.append((predictions.place(name), one))
        if others:
            shown = ", ".join(others[:5]) + (" ..." if len(others) > 5 else "")
            console.warn(
                f"{path}: {plural(len(others), 'video')} not among the annotated ones, whose "
                f"segments count as false positives: {shown}"
            )
    return [one for _, one in sorted(judged, key=lambda item: item[0])]


def _from_model(
    annotations: Annotations,
    videos: list[AnnotatedVideo],
    order: str,
    values: Mapping[str, Any],
    console: Console,
) -> tuple[ExitCode, list[Judged], tuple[str, ...]]:
    """Run the model on every video. A video that fails is left out and makes the exit code 1.

    Returns:
        the exit code, the videos with their predictions, and the model's dense labels.
    """
    from vtnstream.analyzer import Analyzer
    from vtnstream.evaluation import Judged
    from vtnstream.inference.request import Request

    request = Request(
        views=views_of(order), shuffle=values["shuffle"], reference=order == "reference"
    )
    localize = shared.timeline_from(values) if annotations.has_segments else None
    analyzer = Analyzer(values["model"], runtime=running.runtime_from(values))
    if order == "online" and localize is not None:
        check_online(analyzer.model.config, localize)
    _check_labels(annotations, videos, analyzer.model.config.head, console)
    judged: list[Judged] = []
    by_path = {str(video.path): video for video in videos}

    def work(path: str, progress: CommandProgress) -> Partial | None:
        if localize is None:
            report = analyzer.classify(path, request, progress=progress)
        else:
            report = analyzer.timeline(path, request, localize, progress=progress)
        length = report.video.duration_from_header
        judged.append(
            Judged(
                by_path[path],
                report.video.average_rate,
                float(length) if length is not None else report.end_seconds,
                report.classes,
                report.segments or (),
                report.video,
                report.frames,
            )
        )
        return report.partial

    inputs = InputList(tuple(Input(path) for path in by_path), single=len(by_path) == 1)
    return for_each(inputs, work, console), judged, analyzer.model.config.head.dense_labels


def _check_labels(
    annotations: Annotations, videos: list[AnnotatedVideo], head: HeadConfig, console: Console
) -> None:
    """Warn of annotated labels that the model does not have.

    Raises:
        AnnotationError: the model has none of them.
    """
    known = {*map(normal_form, (*head.labels, *head.dense_labels)), BACKGROUND}
    wanted = {item.label for video in videos for item in video.annotations}
    unknown = sorted(wanted - known)
    if not unknown:
        return
    shown = ", ".join(unknown[:5]) + (" ..." if len(unknown) > 5 else "")
    if not wanted & known:
        raise AnnotationError(
            f"{annotations.source}: the model has none of its labels ({shown}): choose another "
            "model"
        )
    console.warn(f"{annotations.source}: the model does not have these labels: {shown}")


def _evaluation(
    annotations: Annotations,
    judged: list[Judged],
    values: Mapping[str, Any],
    dense_labels: tuple[str, ...],
) -> Evaluation:
    from vtnstream.evaluation import FRAMES_PER_SECOND, evaluate_classes, evaluate_segments

    if not annotations.has_segments:
        return evaluate_classes(judged)
    rate = values["frame_rate"] or FRAMES_PER_SECOND
    unlabelled = values["unlabelled"]
    if unlabelled == "auto":
        without = dense_labels and BACKGROUND not in dense_labels
        unlabelled = "ignore" if without else "background"
    return evaluate_segments(
        judged, frames_per_second=rate, phases=values["phases"], unlabelled=unlabelled
    )


def _print(
    console: Console,
    evaluation: Evaluation,
    count: int,
    left_out: int,
    order: str,
    values: Mapping[str, Any],
) -> None:
    order = ORDERS[order] if values["model"] is not None else "stored predictions"
    if values["shuffle"] is not None:
        order += f", frames shuffled (seed {values['shuffle']})"
    if values["json"]:
        document = {
            "schema": "vtnstream/evaluation/1",
            "annotations": str(Path(values["annotations"])),
            "order": order,
            "videos": count,
            "left_out": left_out,
            **evaluation.document(),
        }
        console.out(json.dumps(document, indent=2))
        return
    facts = [("videos", f"{count}" + (f", {left_out} left out" if left_out else ""))]
    facts.append(("order", order))
    for name, value in evaluation.metrics.items():
        low, high = evaluation.intervals.get(name, (None, None))
        spread = "" if low is None or high is None else f"  (95 %: {low:.1f} to {high:.1f})"
        facts.append((name, f"{value:.1f}{spread}"))
    print_facts(console, facts)
    rows = evaluation.per_class
    if rows:
        columns = list(dict.fromkeys(name for row in rows.values() for name in row))
        console.out("")
        print_table(
            console,
            [*columns, "class"],
            [[*(_cell(row.get(c)) for c in columns), label] for label, row in rows.items()],
            right=columns,
        )
    print_confusion(console, evaluation.confusion)
    for note in evaluation.notes:
        console.say(note)


def _cell(value: float | None) -> str:
    if value is None or value != value:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.1f}"
