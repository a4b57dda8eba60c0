"""``vtnstream demo``: train a model that needs the whole sequence, and one that cannot use it.

In the generated videos (:mod:`vtnstream.synthesis.cue_videos`) the first seconds determine the
labels of everything later. A small VTN is trained on them by the code of ``vtnstream train``,
through files, decoder, backbone and feature store. The same model without global attention is
trained for as many steps and stays near chance, because each of its tokens sees a few seconds only.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from vtnstream import api
from vtnstream.config import (
    BackboneConfig,
    DataConfig,
    OptimConfig,
    RuntimeConfig,
    SamplingConfig,
    TemporalConfig,
    TrainConfig,
)
from vtnstream.config.train import RANDOM_WEIGHTS
from vtnstream.datasets.annotations import AnnotatedVideo, read_annotations
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.models.architectures import require_vtn
from vtnstream.models.io.checkpoint import load_model
from vtnstream.models.long_sequence.streaming import encode_sequence
from vtnstream.progress import NullProgress, Progress
from vtnstream.synthesis.cue_videos import (
    CUES,
    LABELS,
    CueVideoConfig,
    make_videos,
    write_annotations,
)
from vtnstream.training.data.features import collect_features
from vtnstream.training.data.targets import dense_samples
from vtnstream.training.run import train
from vtnstream.types import Report, Segment

_CHANCE = 100 / len(LABELS)


@dataclass(frozen=True, slots=True)
class DemoConfig:
    """Size of the demo: enough for every seed that was tried, in about two minutes.

    Attributes:
        num_train: number of training videos.
        num_unseen: number of test videos.
        epochs: training epochs of each model.
        video: appearance of the videos.
        workers: processes that render videos.
    """

    num_train: int = 320
    num_unseen: int = 40
    epochs: int = 20
    video: CueVideoConfig = dataclasses.field(default_factory=CueVideoConfig)
    workers: int = 2


@dataclass(frozen=True, slots=True)
class DemoModel:
    """One of the two models.

    Attributes:
        folder: its model folder.
        accuracy: percentage of correct frames in the phases of all test videos.
        report: result of ``vtnstream timeline`` for the video shown.
    """

    folder: Path
    accuracy: float
    report: Report

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Segments of the video shown."""
        return self.report.segments or ()


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Result of the demo.

    Attributes:
        directory: folder with videos, annotations and models.
        annotations: CSV file of the annotations.
        video: the video shown, the first test video.
        cue: colour of its bar.
        truth: its true segments.
        labels: labels of the phases.
        vtn: the model that reads the whole sequence.
        without_global_attention: the model without global attention, trained for as many steps.
        num_train: number of training videos.
        num_unseen: number of test videos.
        num_steps: optimizer steps of each model.
        chance: accuracy of guessing, in percent.
        seconds: total wall time.
    """

    directory: Path
    annotations: Path
    video: Path
    cue: str
    truth: tuple[Segment, ...]
    labels: tuple[str, ...]
    vtn: DemoModel
    without_global_attention: DemoModel
    num_train: int
    num_unseen: int
    num_steps: int
    chance: float
    seconds: float


def run_demo(
    directory: str | Path,
    *,
    seed: int = 0,
    config: DemoConfig | None = None,
    progress: Progress | None = None,
) -> DemoResult:
    """Generate videos, train on them with and without global attention, and test both models.

    Args:
        directory: folder for ``videos/``, ``annotations.csv``, the model folders and the features;
            it is created.
        seed: seed of videos, weights and training.
        config: size of the demo.
        progress: shows the progress.

    Raises:
        OutputError: the directory cannot be written.
    """
    with _one_thread():
        return _run(Path(directory), seed, config or DemoConfig(), progress or NullProgress())


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread within the context: with tensors this small, threads mostly wait for each
    other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _run(directory: Path, seed: int, config: DemoConfig, progress: Progress) -> DemoResult:
    began = time.perf_counter()
    runtime = RuntimeConfig(device="cpu", cache_dir=directory / "features")
    videos = make_videos(
        directory / "videos",
        config.num_train + config.num_unseen,
        seed=seed,
        config=config.video,
        workers=config.workers,
        progress=progress,
    )
    splits = ["train"] * config.num_train + ["test"] * config.num_unseen
    csv = write_annotations(directory / "annotations.csv", videos, splits=splits)
    shown = videos[config.num_train]
    unseen = [video for video in read_annotations(csv).videos if video.split == "test"]

    models: list[DemoModel] = []
    steps = 0
    for name, global_attention in (("vtn", True), ("without-global-attention", False)):
        training = train_config(csv, directory / name, config, seed, global_attention)
        steps = train(training, runtime=runtime, progress=progress).best.steps
        models.append(_test(directory / name, unseen, shown.path, runtime, progress))
    return DemoResult(
        directory=directory,
        annotations=csv,
        video=shown.path,
        cue=CUES[shown.plan.cue],
        truth=shown.plan.segments(),
        labels=LABELS,
        vtn=models[0],
        without_global_attention=models[1],
        num_train=config.num_train,
        num_unseen=config.num_unseen,
        num_steps=steps,
        chance=_CHANCE,
        seconds=time.perf_counter() - began,
    )


def train_config(
    annotations: Path, output: Path, config: DemoConfig, seed: int, global_attention: bool
) -> TrainConfig:
    """Return the training configuration of the demo.

    The backbone has random weights, whose features distinguish these frames well enough.
    Features are not centred on each video's mean, because that would add the cue to every token
    (the model without global attention then reaches 80 to 94 %).
    """
    return TrainConfig(
        annotations=str(annotations),
        output=str(output),
        seed=seed,
        weights=RANDOM_WEIGHTS,
        sampling=SamplingConfig(fps=Fraction(1)),
        backbone=BackboneConfig("test_resnet"),
        preprocess={"size": config.video.size, "resize": config.video.size},
        feature_norm="dataset",
        temporal=TemporalConfig(
            num_layers=2,
            num_heads=4,
            hidden_size=64,
            intermediate_size=128,
            attention_window=(8,),
            dropout=0.1,
            attention_dropout=0.0,
            global_attention=global_attention,
        ),
        data=DataConfig(validation=0.0, unlabelled="background"),
        optim=OptimConfig(
            epochs=config.epochs,
            batch_size=16,
            learning_rate=2e-3,
            weight_decay=0.01,
            label_smoothing=0.0,
        ),
    )


def _test(
    folder: Path,
    unseen: Sequence[AnnotatedVideo],
    shown: Path,
    runtime: RuntimeConfig,
    progress: Progress,
) -> DemoModel:
    """Test a saved model on the test videos with the code of inference."""
    model = require_vtn(load_model(folder), "the demo")
    encoder = FrameEncoder.from_model(model, runtime)
    right = count = 0
    with ExitStack() as stack:
        videos = collect_features(
            unseen,
            encoder,
            model.config.sampling,
            runtime,
            data=DataConfig(),
            stack=stack,
            progress=progress,
        )
        for sample in dense_samples(videos, model.config.head.dense_labels)[0]:
            output = encode_sequence(model, sample.features)
            assert output.dense_logits is not None and sample.targets is not None
            phase = sample.targets > 0  # 0 is background: the opening
            right += int(np.sum((output.dense_logits.argmax(-1) == sample.targets)[phase]))
            count += int(phase.sum())
    report = api.timeline(shown, model=model, runtime=runtime)
    return DemoModel(folder, 100 * right / count, report)
