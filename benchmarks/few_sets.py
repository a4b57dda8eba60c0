"""Read annotated folders with features as sequences with a class for each token."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vtnstream.config import BackboneConfig, DataConfig, RuntimeConfig, SamplingConfig
from vtnstream.config.model import PreprocessConfig
from vtnstream.datasets.annotations import AnnotatedVideo, Annotations, read_annotations
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.labels import BACKGROUND, stable_order
from vtnstream.models.backbone import create_backbone, load_backbone_weights, native_preprocess
from vtnstream.progress import NullProgress
from vtnstream.training.data.features import VideoFeatures, collect_features
from vtnstream.training.data.targets import Sample, class_samples, dense_samples
from vtnstream.training.selection.folds import make_folds
from vtnstream.training.unlabelled import resolve_unlabelled
from vtnstream.types import Features, TokenTimes

ARRAYS = (".npy", ".npz")


@dataclass(frozen=True)
class FewSet:
    """One annotated folder.

    Attributes:
        name: of the folder.
        samples: unchanged features, with a class for each token.
        labels: K names.
        folds: numbers of the samples of each outer fold.
    """

    name: str
    samples: tuple[Sample, ...]
    labels: tuple[str, ...]
    folds: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class VideoReading:
    """The backbone and sampling with which videos become features."""

    backbone: BackboneConfig
    weights: str
    preprocess: dict[str, object]
    sampling: SamplingConfig
    cache: Path | None


def read_set(place: str, reading: VideoReading | None, join: int = 1) -> FewSet:
    """Read ``FOLDER`` or ``FOLDER@RATE``, which must hold ``labels.csv``.

    Without a column ``fold``, folds are made that part no scene.

    Args:
        place: RATE is that of ``.npy`` arrays (T, D); ``.npz`` hold ``x`` and times ``t``.
        reading: for folders of videos.
        join: videos of a fold that are joined into one long one; clips with a class become
            segments of it.

    Raises:
        ValueError: no two scenes or videos, or no way to read what the annotations name.
    """
    folder, _, rate = place.partition("@")
    found = read_annotations(Path(folder) / "labels.csv")
    videos = _features(found, float(rate or 1), reading)
    if found.has_segments:
        choice = resolve_unlabelled("auto", videos, found.labels)
        missing = BACKGROUND if choice.is_background else None
        labels = stable_order(found.labels, background=choice.is_background)
        samples, _ = dense_samples(videos, labels, missing)
    else:
        labels = found.labels
        classes, _ = class_samples(videos, labels)
        samples = [_spread(sample) for sample in classes]
    samples = _with_folds(samples, len(labels), folder)
    if join > 1:
        samples = _joined(samples, join)
    names = sorted({str(sample.video.fold) for sample in samples})
    folds = tuple(
        tuple(n for n, s in enumerate(samples) if str(s.video.fold) == name) for name in names
    )
    return FewSet(Path(folder).name, tuple(samples), labels, folds)


def _with_folds(samples: list[Sample], num_classes: int, folder: str) -> list[Sample]:
    """The samples with a fold each."""
    if all(sample.video.fold is not None for sample in samples):
        return samples
    folds = make_folds(samples, num_classes, seed=0)
    if not folds:
        raise ValueError(f"{folder}: one scene or video only, nothing can be held out")
    place = {number: str(name) for name, fold in enumerate(folds) for number in fold}
    return [
        replace(sample, video=replace(sample.video, fold=place[number]))
        for number, sample in enumerate(samples)
    ]


def _features(found: Annotations, rate: float, reading: VideoReading | None) -> list[VideoFeatures]:
    if all(video.path.suffix in ARRAYS for video in found.videos):
        return [VideoFeatures(video, _array(video, rate)) for video in found.videos]
    if reading is None:
        raise ValueError(f"{found.source}: videos need --backbone and --weights")
    backbone = create_backbone(reading.backbone)
    load_backbone_weights(backbone, reading.weights)
    preprocess: PreprocessConfig = replace(
        native_preprocess(reading.backbone),
        **reading.preprocess,  # type: ignore[arg-type]
    )
    with ExitStack() as stack:
        return collect_features(
            found.videos,
            FrameEncoder(backbone.eval(), reading.backbone, preprocess),
            reading.sampling,
            RuntimeConfig(cache_dir=reading.cache),
            data=DataConfig(),
            stack=stack,
            progress=NullProgress(),
        )


def _array(video: AnnotatedVideo, rate: float) -> Features:
    loaded = np.load(video.path)
    if video.path.suffix == ".npy":
        values = np.asarray(loaded, np.float32)
        starts = np.arange(len(values)) / rate
    else:
        values, starts = np.asarray(loaded["x"], np.float32), np.asarray(loaded["t"], np.float64)
    usual = float(np.median(np.diff(starts))) if len(starts) > 1 else 1 / rate
    return _timed(values, starts, np.append(starts[1:], starts[-1] + usual))


def _timed(values: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> Features:
    places = np.arange(len(values), dtype=np.int64)
    return Features(values, TokenTimes(places, places, starts, ends))


def _spread(sample: Sample) -> Sample:
    """Convert a clip with a class to a sequence whose tokens all have it."""
    targets = np.full(len(sample), sample.label, np.int64)
    return replace(sample, label=None, targets=targets)


def _joined(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Join ``count`` sequences of a fold at a time, in a fixed random order."""
    rng = np.random.default_rng(0)
    made = []
    for name in sorted({str(sample.video.fold) for sample in samples}):
        own = [sample for sample in samples if str(sample.video.fold) == name]
        own = [own[n] for n in rng.permutation(len(own))]
        for first in range(0, len(own), count):
            part = own[first : first + count]
            values = np.concatenate([_values(sample) for sample in part])
            step = float(np.median(np.diff(part[0].features.times.start_seconds)))
            starts = np.arange(len(values)) * step
            targets = [s.targets for s in part if s.targets is not None]
            features = _timed(values, starts, starts + step)
            made.append(
                Sample(part[0].video, features, 0, len(values), targets=np.concatenate(targets))
            )
    return made


def _values(sample: Sample) -> np.ndarray:
    assert isinstance(sample.features, Features)
    return sample.features.values[sample.start : sample.stop]
