"""Contenders on generated videos, trained by the loop of ``vtnstream train`` and run through the
inference of every command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.learning.videos import times
from vtnstream.config import DataConfig, HeadConfig, ModelConfig, OptimConfig, TemporalConfig
from vtnstream.config.train import TrainConfig
from vtnstream.models.long_sequence.streaming import encode_sequence
from vtnstream.models.vtn.model import VTN
from vtnstream.scoring.probabilities import probabilities
from vtnstream.training.data.features import (
    VideoFeatures,
    fit_feature_norm,
    load,
    normalized,
)
from vtnstream.training.data.targets import Sample
from vtnstream.training.loop import fit
from vtnstream.training.probe import fit_probe, mean_pool
from vtnstream.types import Features, IndexArray

Scores = NDArray[np.floating[Any]]
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Contender:
    """One model and its training.

    Attributes:
        temporal: differences in the temporal encoder.
        clip: tokens of the clips it is trained and tested on; 0 is the whole video.
        probe: use logistic regression on each frame or on their mean instead.
    """

    temporal: Mapping[str, Any] = field(default_factory=dict)
    clip: int = 0
    probe: bool = False


@dataclass(frozen=True)
class Recipe:
    """Duration of the training, and size of the model."""

    epochs: int
    layers: int
    window: int


def without_backbone(config: ModelConfig, num_features: int) -> VTN:
    """Build an untrained small model over given features."""
    backbone = torch.nn.Module()
    backbone.num_features = num_features  # type: ignore[assignment]
    model = VTN(config, backbone)
    for part in (model.temporal_encoder, model.mlp_head, model.dense_head):
        for module in part.modules() if part is not None else ():
            if isinstance(module, torch.nn.Linear):  # N(0, .02) is too small for 64 numbers
                torch.nn.init.xavier_uniform_(module.weight)
    return model


def learn(
    contender: Contender, recipe: Recipe, head: HeadConfig, videos: Sequence[Sample], seed: int
) -> VTN:
    """Train a model; return it in evaluation mode.

    Clips are drawn anew in each pass over the videos. There are more passes for shorter clips,
    so that every contender sees the same number of tokens.
    """
    temporal = TemporalConfig(
        **{
            "num_layers": recipe.layers,
            "num_heads": 4,
            "hidden_size": 64,
            "intermediate_size": 128,
            "attention_window": (recipe.window,),
            "dropout": 0.0,
            "attention_dropout": 0.0,
            "window_positions": "clip" if contender.clip else "absolute",
            **contender.temporal,
        }
    )
    passes = len(videos[0]) // contender.clip if contender.clip else 1
    config = TrainConfig(
        seed=seed,
        temporal=temporal,
        data=DataConfig(clip_tokens=contender.clip),
        optim=OptimConfig(
            epochs=recipe.epochs * passes,
            batch_size=16 * passes,
            learning_rate=2e-3,
            weight_decay=0.01,
            label_smoothing=0.0,
        ),
    )
    torch.manual_seed(seed)
    made = ModelConfig(feature_norm="dataset", temporal=temporal, head=head)
    model = without_backbone(made, videos[0].features.num_features)
    fit_feature_norm(model.feature_norm, [VideoFeatures(f.video, f.features) for f in videos])
    norm = model.feature_norm
    fit(model, [replace(f, features=normalized(f.features, norm)) for f in videos], [], config)
    return model.eval()


def ask(model: VTN, video: Sample, clip: int) -> Scores:
    """Return the scores of each token (T, K), or of the whole video (K,): the mean over all
    clips."""
    output = [encode_sequence(model, part) for part in _parts(video, clip)]
    if model.dense_head is not None:
        tokens = [part.dense_logits for part in output if part.dense_logits is not None]
        return np.concatenate(tokens)
    logits = [part.logits for part in output if part.logits is not None]
    rows = probabilities(np.stack(logits), multi_label=False)
    return np.asarray(rows.mean(0), np.float64)


def _parts(video: Sample, clip: int) -> list[Features]:
    """Return the whole video, or its clips with positions from 0."""
    values = load(video.features).values
    size = clip or len(values)
    cut = [values[start : start + size] for start in range(0, len(values), size)]
    return [Features(part, times(len(part))) for part in cut]


class Probe:
    """Logistic regression on frames, or on the mean of a video's frames."""

    def __init__(self, videos: Sequence[Sample], num_classes: int) -> None:
        values = np.concatenate([_rows(video) for video in videos])
        wanted = np.concatenate([_targets(video) for video in videos])
        self._probe = fit_probe(values[wanted >= 0], wanted[wanted >= 0], num_classes)

    def ask(self, video: Sample) -> Scores:
        """Return scores as :func:`ask` does."""
        logits = self._probe.logits(_rows(video))
        return logits if video.targets is not None else np.asarray(logits[0])


def _rows(video: Sample) -> Matrix:
    """Return the frames (T, D), or their mean (1, D)."""
    if video.targets is None:
        return mean_pool(video.features)[None]
    return load(video.features).values.astype(np.float64)


def _targets(video: Sample) -> IndexArray:
    return np.array([video.label]) if video.targets is None else video.targets
