"""Prepare a model and training samples from annotations."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from vtnstream.config import (
    HeadConfig,
    PreprocessConfig,
    RuntimeConfig,
    TrainConfig,
)
from vtnstream.config.class_heads import ClassHead, split_heads
from vtnstream.config.loading import from_dict, to_dict
from vtnstream.datasets.annotations import Annotations, read_annotations
from vtnstream.encoding.encoder import FrameEncoder, resolve_device
from vtnstream.errors import AnnotationError, ConfigError, TrainingError
from vtnstream.labels import BACKGROUND, stable_order
from vtnstream.models.architectures import VideoModel
from vtnstream.models.backbone import (
    native_preprocess,
)
from vtnstream.progress import Progress
from vtnstream.training.building import model_config_of, start_backbone, untrained_model
from vtnstream.training.data.clips import clip_sampling, clip_stride
from vtnstream.training.data.features import (
    VideoFeatures,
    collect_features,
    fit_feature_norm,
    normalized,
)
from vtnstream.training.data.frames import collect_frames
from vtnstream.training.data.split import Split
from vtnstream.training.data.targets import (
    Sample,
    class_counts,
    class_samples,
    dense_samples,
    with_classes,
)
from vtnstream.training.unlabelled import Unlabelled, resolve_unlabelled


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model that is ready for training, and its samples.

    Attributes:
        model: the untrained model, on its device.
        training: training samples.
        validation: validation samples.
        labels: labels of the trained head.
        unlabelled: how spans without a label are used; None without a dense head.
    """

    model: VideoModel
    training: list[Sample]
    validation: list[Sample]
    labels: tuple[str, ...]
    unlabelled: Unlabelled | None = None


def resolve_task(config: TrainConfig, annotations: Annotations) -> str:
    """Return the task: ``classification``, ``dense`` or ``both``.

    Raises:
        ConfigError: the requested task does not match the annotations.
    """
    if annotations.heads and (config.class_annotations or config.task in ("dense", "both")):
        raise ConfigError(
            f"{annotations.source}: labels of several class heads ({', '.join(annotations.heads)}) "
            "are for task = classification, without class_annotations"
        )
    if config.class_annotations and config.task in ("classification", "dense"):
        raise ConfigError(f"class_annotations teach both heads, task is {config.task}")
    if config.task == "both" and not config.class_annotations:
        raise ConfigError("task both needs class_annotations (path,label) beside the segments")
    if config.class_annotations and not annotations.has_segments:
        raise ConfigError(f"{annotations.source}: class_annotations go with annotated segments")
    if config.task == "dense" and not annotations.has_segments:
        raise ConfigError(f"{annotations.source}: task dense needs segments (path,start,end,label)")
    if config.class_annotations:
        return "both"
    if config.vivit is not None or annotations.heads:
        return "classification"
    if config.task == "auto":
        return "dense" if annotations.has_segments else "classification"
    return config.task


def prepare(
    config: TrainConfig,
    task: str,
    annotations: Annotations,
    split: Split,
    runtime: RuntimeConfig | None,
    progress: Progress,
    stack: ExitStack,
) -> Prepared:
    """Read all videos, build a model around the backbone, and make samples.

    Args:
        config: configuration of the run.
        task: ``classification``, ``dense`` or ``both``.
        annotations: all annotations, which define the labels.
        split: videos that are used.
        runtime: device, dtype and store of the features.
        progress: shows the progress and receives warnings.
        stack: keeps features on disk open.

    Raises:
        ConfigError: mixup or CutMix is set for a task other than classification.
        TrainingError: there is nothing to train on.
        VideoError: a video cannot be read and must not be skipped.
    """
    runtime = runtime or RuntimeConfig()
    _check_mixing(config, task)
    backbone = start_backbone(config, progress)
    preprocess = from_dict(
        PreprocessConfig,
        {**to_dict(native_preprocess(config.backbone)), **config.preprocess},
        where="preprocess",
    )
    videos = _sequences(config, backbone, preprocess, split, runtime, progress, stack)
    held = set(split.validation)
    learned = [item for item in videos if item.video not in held]
    if not learned:
        raise TrainingError(f"{annotations.source}: none of the videos could be read")
    dense = task != "classification"
    unlabelled, missing = None, None
    if dense:
        unlabelled = resolve_unlabelled(config.data.unlabelled, videos, annotations.labels)
        missing = BACKGROUND if unlabelled.is_background else None
    labels = annotations.labels
    if not annotations.heads:
        labels = stable_order(labels, background=missing is not None)
    classes = _classes(config)
    head = _head_config(config.head, annotations.heads, labels, dense, classes)
    model_config = model_config_of(config, preprocess, head, videos, progress)
    model = untrained_model(config, model_config, backbone)
    if config.mode == "frozen":
        fit_feature_norm(model.feature_norm, learned)
    model.to(resolve_device(runtime.device))
    parts = []
    for group in (learned, [item for item in videos if item.video in held]):
        seen = [_with_normalized(item, model, config) for item in group]
        if dense:
            samples, unseen = dense_samples(seen, labels, missing)
        else:
            samples, unseen = class_samples(seen, labels)
        if classes:
            samples = with_classes(samples, classes, model.config.head.labels)
        for message in unseen:
            progress.warn(message)
        parts.append(samples)
    for part in split_heads(annotations.heads, labels):
        _check_classes(annotations, parts[0], labels, part, progress)
    return Prepared(model, parts[0], parts[1], labels, unlabelled)


def _head_config(
    config: HeadConfig,
    heads: tuple[str, ...],
    labels: tuple[str, ...],
    dense: bool,
    classes: Mapping[Path, str],
) -> HeadConfig:
    """Return the heads of the model.

    Args:
        config: dropout and width.
        heads: names of the class heads if there are several.
        labels: labels of the annotations.
        dense: whether ``labels`` belong to the dense head.
        classes: class of each whole video, if there are classes beside segments.
    """
    if dense:
        whole = stable_order(classes.values())
        return dataclasses.replace(config, labels=whole, dense_labels=labels)
    return dataclasses.replace(config, labels=labels, heads=heads)


def _check_mixing(config: TrainConfig, task: str) -> None:
    """Check that mixup and CutMix are used for classification only.

    Raises:
        ConfigError: they are set for another task.
    """
    if task != "classification" and (config.optim.mixup or config.optim.cutmix):
        raise ConfigError(
            "optim.mixup and optim.cutmix mix whole sequences: they need task = classification"
        )


def _sequences(
    config: TrainConfig,
    backbone: torch.nn.Module,
    preprocess: PreprocessConfig,
    split: Split,
    runtime: RuntimeConfig,
    progress: Progress,
    stack: ExitStack,
) -> list[VideoFeatures]:
    """Return the features of the frozen backbone, or the frames, of all videos."""
    videos = [*split.train, *split.validation]
    if config.mode == "end-to-end":
        return collect_frames(
            videos,
            preprocess,
            clip_sampling(config),
            data=config.data,
            progress=progress,
            whole=frozenset(split.train),
            short_side=max(config.augment.short_side, default=0),
            trusting=clip_stride(config) is not None,
        )
    encoder = FrameEncoder(
        backbone,
        config.backbone,
        preprocess,
        device=resolve_device(runtime.device),
        dtype=runtime.dtype,
    )
    return collect_features(
        videos,
        encoder,
        config.sampling,
        runtime,
        data=config.data,
        stack=stack,
        progress=progress,
    )


def _classes(config: TrainConfig) -> dict[Path, str]:
    """Return the class of each whole video, if there are classes beside segments.

    Raises:
        AnnotationError: the file is invalid, or contains segments.
    """
    if not config.class_annotations:
        return {}
    found = read_annotations(config.class_annotations, videos=config.data.videos, check_files=False)
    if found.has_segments or found.heads:
        raise AnnotationError(f"{found.source}: class_annotations are path,label, not segments")
    return {video.path: video.annotations[0].label for video in found.videos}


def _with_normalized(item: VideoFeatures, model: VideoModel, config: TrainConfig) -> VideoFeatures:
    if config.mode == "end-to-end":
        return item
    return dataclasses.replace(item, features=normalized(item.features, model.feature_norm))


def _check_classes(
    annotations: Annotations,
    samples: Sequence[Sample],
    all_labels: Sequence[str],
    head: ClassHead,
    progress: Progress,
) -> None:
    """Check that there are samples of the classes of one head.

    Raises:
        TrainingError: there are samples of fewer than two of them.
    """
    if not samples:
        raise TrainingError(
            f"{annotations.source}: no sampled frame falls into any segment: check the times"
        )
    counts, labels = class_counts(samples, len(all_labels))[head.columns], head.full_labels
    empty = [
        label
        for label, count in zip(labels, counts, strict=True)
        if not count and label != BACKGROUND
    ]
    learned = len(labels) - len(empty)
    if BACKGROUND in labels and not counts[labels.index(BACKGROUND)]:
        learned -= 1
    if learned < 2:
        raise TrainingError(
            f"{annotations.source}: only one {head.name or 'class'} to learn from: two or more are "
            "needed"
        )
    if empty:
        progress.warn(
            f"no training sample of {', '.join(empty)}: the model cannot tell "
            f"{'it' if len(empty) == 1 else 'them'} from other classes: label more videos"
        )
