"""Annotated videos with the predictions of a model, or with stored ones, for ``evaluate``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.progress import CommandProgress
from vtnstream.cli.options import running, shared
from vtnstream.cli.options.input_list import Input, InputList
from vtnstream.cli.options.orders import check_online, views_of
from vtnstream.cli.session import for_each
from vtnstream.datasets.annotations import AnnotatedVideo, Annotations, Time
from vtnstream.errors import AnnotationError, VideoError
from vtnstream.labels import BACKGROUND, normal_form
from vtnstream.progress import NullProgress, Progress
from vtnstream.timecode import FrameCount
from vtnstream.wording import plural

if TYPE_CHECKING:
    from vtnstream.analyzer import Analyzer
    from vtnstream.config import HeadConfig
    from vtnstream.evaluation import EvaluatedVideo
    from vtnstream.inference.request import Request, TimeLike
    from vtnstream.types import Partial


def evaluate_predictions(
    annotations: Annotations,
    videos: list[AnnotatedVideo],
    values: Mapping[str, Any],
    console: Console,
) -> tuple[list[EvaluatedVideo], tuple[str, ...]]:
    """Return the annotated videos with their predictions, in the order of the predictions, and the
    dense labels of the models that made them, if all of these are known.

    A video without a prediction counts as one without segments. A result file of ActivityNet is
    read as its script does: videos that are not among the annotated ones count as false
    positives. Both give a warning.
    """
    from vtnstream.evaluation import EvaluatedVideo
    from vtnstream.predictions import Prediction, read_predictions

    path, rate = values["predictions"], values["frame_rate"]
    rate = None if rate is None else Fraction(str(rate))
    predictions = read_predictions(path)
    evaluated: list[tuple[int, EvaluatedVideo]] = []
    absent = []
    labels: list[tuple[str, ...]] = []
    for video in videos:
        name = predictions.name_of(video.path)
        if name is None:
            absent.append(video.path.name)
            if not annotations.has_segments:
                continue
        said = Prediction() if name is None else predictions[name]
        if name is not None:
            labels.append(said.dense_labels)
        one = EvaluatedVideo(
            video,
            rate,
            said.seconds,
            said.classes,
            said.segments or (),
            said.info,
            said.frames,
            heads=said.heads,
            covered=said.covered,
        )
        evaluated.append((predictions.place(name), one))
    if absent:
        shown = ", ".join(absent[:5]) + (" ..." if len(absent) > 5 else "")
        console.warn(f"{path}: no prediction for {len(absent)} of {len(videos)} videos: {shown}")
    if predictions.whole and annotations.has_segments:
        named = videos if annotations.source.suffix == ".json" else annotations.videos
        others = predictions.others(video.path for video in named)
        for name in others:
            said = predictions[name]
            stranger = AnnotatedVideo(Path(name), ())
            one = EvaluatedVideo(stranger, segments=said.segments or (), is_annotated=False)
            evaluated.append((predictions.place(name), one))
        if others:
            shown = ", ".join(others[:5]) + (" ..." if len(others) > 5 else "")
            console.warn(
                f"{path}: {plural(len(others), 'video')} not among the annotated ones, whose "
                f"segments count as false positives: {shown}"
            )
    ordered = [one for _, one in sorted(evaluated, key=lambda item: item[0])]
    known = {label for each in labels for label in each} if all(labels) else set()
    return ordered, tuple(sorted(known))


def evaluate_with_model(
    annotations: Annotations,
    videos: list[AnnotatedVideo],
    order: str,
    values: Mapping[str, Any],
    console: Console,
) -> tuple[ExitCode, list[EvaluatedVideo], tuple[str, ...]]:
    """Run the model on every video. A video that fails is left out and makes the exit code 1.

    Returns:
        the exit code, the videos with their predictions, and the model's dense labels.
    """
    from vtnstream.analyzer import Analyzer
    from vtnstream.evaluation import EvaluatedVideo
    from vtnstream.inference.request import Request

    request = Request(
        views=views_of(order), shuffle=values["shuffle"], reference=order == "reference"
    )
    timelines = annotations.has_segments and not annotations.are_clips
    localize = shared.timeline_from(values) if timelines else None
    runtime = running.runtime_from(values)
    analyzer = Analyzer(values["model"], runtime=runtime, keep_outputs=True)
    if order == "online" and localize is not None:
        check_online(analyzer.config, localize)
    _check_labels(annotations, videos, analyzer.config.head, console)
    evaluated: list[EvaluatedVideo] = []
    by_path = {str(video.path): video for video in videos}

    def work(path: str, progress: CommandProgress) -> Partial | None:
        if annotations.are_clips:
            evaluated.extend(_clips(analyzer, by_path[path], request, progress))
            return None
        if localize is None:
            report = analyzer.classify(path, request, progress=progress)
        else:
            report = analyzer.timeline(path, request, localize, progress=progress)
        length = report.video.duration_from_header
        evaluated.append(
            EvaluatedVideo(
                by_path[path],
                report.video.average_rate,
                float(length) if length is not None else report.end_seconds,
                report.classes,
                report.segments or (),
                report.video,
                report.frames,
                heads=report.heads,
                covered=report.covered,
            )
        )
        return report.partial

    inputs = InputList(tuple(Input(path) for path in by_path), single=len(by_path) == 1)
    return for_each(inputs, work, console), evaluated, analyzer.config.head.dense_labels


def _clips(
    analyzer: Analyzer, video: AnnotatedVideo, request: Request, progress: CommandProgress
) -> list[EvaluatedVideo]:
    """Classify each annotated segment of a video. A segment that fails is left out with a warning.

    Raises:
        VideoError: none of its segments can be read.
    """
    from vtnstream.evaluation import EvaluatedVideo

    found: list[EvaluatedVideo] = []
    last: VideoError | None = None
    quiet = _OnlyWarnings(progress)
    progress.start(video.path.name, total=len(video.annotations), unit="segments")
    try:
        for number, item in enumerate(video.annotations, 1):
            start, end = _time_like(item.start), _time_like(item.end)
            try:
                part = dataclasses.replace(request, start=start, end=end)
                report = analyzer.classify(video.path, part, progress=quiet)
            except VideoError as error:
                progress.warn(f"{error} (the segment of line {item.line} is left out)")
                last = error
                continue
            if report.partial is not None:
                reasons = "; ".join(report.partial.reasons)
                progress.warn(
                    f"{video.path}: the segment of line {item.line} is partial: {reasons}"
                )
            one = dataclasses.replace(video, annotations=(item,))
            found.append(EvaluatedVideo(one, classes=report.classes, heads=report.heads))
            progress.advance(number)
    finally:
        progress.finish()
    if not found and last is not None:
        raise last
    return found


class _OnlyWarnings(NullProgress):
    """Passes warnings on; the progress of each segment would be many lines."""

    def __init__(self, progress: Progress) -> None:
        self.warn = progress.warn  # type: ignore[method-assign]


def _time_like(time: Time | None) -> TimeLike | None:
    return f"{time.frames}f" if isinstance(time, FrameCount) else time


def _check_labels(
    annotations: Annotations, videos: list[AnnotatedVideo], head: HeadConfig, console: Console
) -> None:
    """Warn of annotated labels that the model does not have.

    Raises:
        AnnotationError: the model has none of them, or other class heads.
    """
    if annotations.heads and annotations.heads != head.heads:
        raise AnnotationError(
            f"{annotations.source}: has labels for the class heads {', '.join(annotations.heads)}, "
            f"the model has {', '.join(head.heads) or 'one class head'}: choose another model"
        )
    known = {*map(normal_form, (*head.labels, *head.dense_labels)), BACKGROUND}
    wanted = {
        label for video in videos for item in video.annotations for label in item.class_labels
    }
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
