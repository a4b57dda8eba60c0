"""``vtnstream evaluate``: evaluate a model, or stored predictions, on annotations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vtnstream.cli.confusion import print_confusion, write_confusion
from vtnstream.cli.evaluated import evaluate_predictions, evaluate_with_model
from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.fields import attach, option
from vtnstream.cli.framework.tables import print_facts, print_table
from vtnstream.cli.framework.types import FileType, complete_files
from vtnstream.cli.learning_curve import print_learning_curve
from vtnstream.cli.options import running, shared
from vtnstream.cli.options.orders import (
    ORDERS,
    refuse_idle,
    resolve_order,
)
from vtnstream.config.train import UNLABELLED
from vtnstream.datasets.annotations import FORMATS, AnnotatedVideo, Annotations, read_annotations
from vtnstream.errors import AnnotationError, UsageError
from vtnstream.labels import BACKGROUND

if TYPE_CHECKING:
    from vtnstream.evaluation import EvaluatedVideo, Evaluation

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
        type=FileType(new=True),
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

    For classes of videos: top-1 and top-5, per class, confusion, calibration; with several class
    heads (verb, noun) also of their combination. For segments: mAP at tIoU, frame accuracy, edit
    score, F1@{10,25,50} and metrics per phase.
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
    _check_heads(found, values)
    timelines = found.has_segments and not found.are_clips
    refuse_idle(values, segments=timelines)
    order = resolve_order(values["order"], segments=timelines)
    if values["window"] is not None and not timelines:
        console.warn(
            "--window has no effect: it is for segments, and these annotations are classes"
        )
    videos = _selected(found, values["split"], values["fold"])
    if values["predictions"] is not None:
        code = ExitCode.OK
        evaluated, labels = evaluate_predictions(found, videos, values, console)
    else:
        code, evaluated, labels = evaluate_with_model(found, videos, order, values, console)
    if not evaluated:
        raise AnnotationError(f"{values['annotations']}: no video could be evaluated")
    evaluation = _evaluation(found, evaluated, values, labels)
    count = sum(one.is_annotated for one in evaluated)
    wanted = sum(len(video.annotations) for video in videos) if found.are_clips else len(videos)
    if values["confusion"] is not None:
        write_confusion(values["confusion"], evaluation.confusion)
    unit = "segments" if found.are_clips else "videos"
    _print(console, evaluation, {unit: count, "left_out": wanted - count}, order, values)
    return code


def _check_heads(annotations: Annotations, values: Mapping[str, Any]) -> None:
    """Refuse options that have no meaning with labels for several class heads.

    Raises:
        UsageError: such an option is given.
    """
    if not annotations.heads:
        return
    if values["confusion"] is not None:
        raise UsageError("--confusion draws the classes of one head: these annotations have more")
    if annotations.are_clips:
        if values["predictions"] is not None:
            raise UsageError(
                "--predictions have one result for each video: these annotations classify segments "
                "of videos, so name the model with --model"
            )
        if values["order"] == "reference":
            raise UsageError("--order reference reads whole videos: these annotations are segments")


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


def _evaluation(
    annotations: Annotations,
    evaluated: list[EvaluatedVideo],
    values: Mapping[str, Any],
    dense_labels: tuple[str, ...],
) -> Evaluation:
    from vtnstream.evaluation import FRAMES_PER_SECOND, evaluate_classes, evaluate_segments
    from vtnstream.head_evaluation import evaluate_heads

    if annotations.heads:
        return evaluate_heads(evaluated, annotations.heads)
    if not annotations.has_segments:
        return evaluate_classes(evaluated)
    rate = values["frame_rate"] or FRAMES_PER_SECOND
    unlabelled = values["unlabelled"]
    if unlabelled == "auto":
        without = dense_labels and BACKGROUND not in dense_labels
        unlabelled = "ignore" if without else "background"
    return evaluate_segments(
        evaluated, frames_per_second=rate, phases=values["phases"], unlabelled=unlabelled
    )


def _print(
    console: Console,
    evaluation: Evaluation,
    counts: Mapping[str, int],
    order: str,
    values: Mapping[str, Any],
) -> None:
    order = ORDERS[order] if values["model"] is not None else "stored predictions"
    if "segments" in counts:
        order = order.replace("whole video", "segment")
    if values["shuffle"] is not None:
        order += f", frames shuffled (seed {values['shuffle']})"
    if values["json"]:
        document = {
            "schema": "vtnstream/evaluation/1",
            "annotations": str(Path(values["annotations"])),
            "order": order,
            **counts,
            **evaluation.document(),
        }
        console.out(json.dumps(document, indent=2))
        return
    (unit, count), (_, left_out) = counts.items()
    facts = [(unit, f"{count}" + (f", {left_out} left out" if left_out else ""))]
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
