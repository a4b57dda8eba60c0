"""Compute metrics of a model on validation samples, with whole sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vtnstream.config import HeadConfig, TrainConfig
from vtnstream.errors import TrainingError
from vtnstream.localization.window_scores import window_starts
from vtnstream.metrics.classification import joint_top_k_accuracy, top_k_accuracy
from vtnstream.metrics.segmentation import segmentation_scores
from vtnstream.models.architectures import VideoModel
from vtnstream.training.accelerator import Engine
from vtnstream.training.data.batches import Batch, Crop, assemble, plan_batches
from vtnstream.training.data.clips import clip_stride, clip_tokens
from vtnstream.training.data.reading import BatchReader
from vtnstream.training.data.targets import IGNORE, Sample
from vtnstream.training.forward import device_of, run_model
from vtnstream.types import FloatArray

_MAX_CLIPS = 10
"""Maximum number of clips per sample whose scores are averaged, for models trained on clips."""


@dataclass(frozen=True, slots=True, eq=False)
class _Scores:
    """Log-probabilities of one crop: ``tokens`` (T, Kd), ``whole`` (K,), by class head."""

    tokens: FloatArray | None
    whole: FloatArray | None

    @property
    def is_nan(self) -> bool:
        parts = (part for part in (self.tokens, self.whole) if part is not None)
        return any(bool(np.isnan(part).any()) for part in parts)

    def of_length(self, count: int) -> _Scores:
        """Return the scores without padding."""
        return _Scores(None if self.tokens is None else self.tokens[:count], self.whole)


def validate(
    model: VideoModel,
    samples: Sequence[Sample],
    config: TrainConfig,
    engine: Engine | None = None,
    reader: BatchReader | None = None,
) -> dict[str, float]:
    """Return the metrics of a model on validation samples.

    These are ``accuracy`` (percent) and ``loss``; for dense heads also ``edit`` and ``f1@10``
    etc. If both heads are trained, those of the MLP head are ``class_accuracy`` and
    ``class_loss``. Of several class heads ``accuracy`` counts a sample as right if all are, and
    ``verb_accuracy`` etc. are those of each.

    Args:
        model: in any mode; it is set to evaluation mode.
        samples: normalised, with labels or targets.
        config: sizes of batches and clips.
        engine: processes that share the samples; each gets the metrics over all samples.
        reader: reads the inputs. Videos that cannot be read are left out if ``data.on_bad_video``
            is ``skip``.

    Raises:
        VideoError: a video cannot be read any more and must not be skipped.
        TrainingError: no video can be read, or the model's outputs are not numbers.
    """
    model.eval()
    engine = engine or Engine()
    reader = reader or BatchReader(model, config, engine, lambda message: None)
    own = range(len(samples))[engine.index :: engine.count]
    scores = engine.gather(_scores_of(model, [samples[n] for n in own], config, reader))
    if engine.count > 1:
        everyone = engine.gather(list(own))
        scores = [row for _, row in sorted(zip(everyone, scores, strict=True), key=_first)]
    if any(part.is_nan for rows in scores for part in rows):
        raise TrainingError(
            "the scores of held-out videos are not finite: lower optim.learning_rate, or "
            "look for broken features"
        )
    read = [number for number, rows in enumerate(scores) if rows]
    if not read:
        raise TrainingError("none of the held-out videos can be read any more")
    return _metrics(model, [samples[n] for n in read], [scores[n] for n in read])


def _first(pair: tuple[int, object]) -> int:
    return pair[0]


def _scores_of(
    model: VideoModel, samples: Sequence[Sample], config: TrainConfig, reader: BatchReader
) -> list[list[_Scores]]:
    """Return the scores of each sample's crops in order of time; none if one of them cannot be
    read."""
    crops = [crop for sample in samples for crop in _crops(sample, config)]
    owners = {id(sample): number for number, sample in enumerate(samples)}
    found: list[list[tuple[int, _Scores]]] = [[] for _ in samples]
    lost: set[int] = set()
    for part in plan_batches(crops, config.optim.batch_size, config.optim.batch_tokens):
        inputs = reader.rows(part)
        kept = [(c, row) for c, row in zip(part, inputs, strict=True) if row is not None]
        lost |= {owners[id(c.sample)] for c, row in zip(part, inputs, strict=True) if row is None}
        if not kept:
            continue
        batch = assemble(*zip(*kept, strict=True), clip_positions=reader.clip_positions)
        for (crop, _), scored in zip(kept, _score(model, batch), strict=True):
            found[owners[id(crop.sample)]].append((crop.start, scored.of_length(len(crop))))
    # Batches are sorted by length, so that the last, shorter clip of a sample may come first.
    return [
        [] if number in lost else [row for _, row in sorted(rows, key=_first)]
        for number, rows in enumerate(found)
    ]


def _metrics(
    model: VideoModel, samples: Sequence[Sample], scores: list[list[_Scores]]
) -> dict[str, float]:
    metrics: dict[str, float] = {}
    if samples[0].label is not None:
        metrics = _class_metrics(model.config.head, samples, scores)
        if samples[0].targets is not None:
            metrics = {f"class_{name}": value for name, value in metrics.items()}
    if samples[0].targets is not None:
        metrics |= _dense_metrics(model, samples, scores)
    return metrics


def _crops(sample: Sample, config: TrainConfig) -> list[Crop]:
    """Return one crop of the whole sample, or clips spread over it for models trained on clips."""
    clip, stride = config.data.clip_tokens, clip_stride(config)
    if stride is not None:
        clip = clip_tokens(config)
        span = (clip - 1) * stride + 1
        starts = window_starts(len(sample), min(span, len(sample)), span)
        return [Crop(sample, start, len(sample), stride, clip) for start in _spread(starts)]
    if not clip or len(sample) <= clip:
        return [Crop(sample, 0, len(sample))]
    starts = window_starts(len(sample), clip, clip)
    starts = _spread(starts)
    if sample.targets is not None:  # each token exactly once, as in one pass
        starts = list(range(0, len(sample), clip))
    return [Crop(sample, start, min(start + clip, len(sample))) for start in starts]


def _spread(starts: list[int]) -> list[int]:
    """Return at most :data:`_MAX_CLIPS` of the starts, evenly spread."""
    if len(starts) <= _MAX_CLIPS:
        return starts
    return [starts[i] for i in np.linspace(0, len(starts) - 1, _MAX_CLIPS).astype(int)]


@torch.inference_mode()
def _score(model: VideoModel, batch: Batch) -> list[_Scores]:
    """Return the log-probabilities of each sequence of a batch."""
    output = run_model(model, batch.to(device_of(model)))
    dense, whole = output.dense_logits, output.logits
    count = len(batch.inputs)
    rows = dense.float().log_softmax(-1).cpu().numpy() if dense is not None else [None] * count
    means: Sequence[FloatArray | None] = [None] * count
    if whole is not None:
        logs = [
            whole[:, head.columns].float().log_softmax(-1) for head in model.config.head.class_heads
        ]
        means = list(torch.cat(logs, -1).cpu().numpy())
    return [_Scores(*pair) for pair in zip(rows, means, strict=True)]


def _class_metrics(
    config: HeadConfig, samples: Sequence[Sample], scores: list[list[_Scores]]
) -> dict[str, float]:
    labels = np.array([sample.classes for sample in samples], np.int64)  # (N, H)
    means = np.stack(
        [np.mean([np.exp(r.whole) for r in rows if r.whole is not None], 0) for rows in scores]
    )
    right = np.take_along_axis(means, labels, axis=1)  # (N, H)
    heads = config.class_heads
    parts = [means[:, head.columns] for head in heads]
    targets = labels - np.array([head.start for head in heads], np.int64)
    found = {
        "accuracy": 100 * joint_top_k_accuracy(parts, targets),
        "loss": float(-np.log(np.maximum(right, 1e-12)).sum(1).mean()),
    }
    if len(heads) > 1:
        for number, (head, part) in enumerate(zip(heads, parts, strict=True)):
            found[f"{head.name}_accuracy"] = 100 * top_k_accuracy(part, targets[:, number])
    return found


def _dense_metrics(
    model: VideoModel, samples: Sequence[Sample], scores: list[list[_Scores]]
) -> dict[str, float]:
    names = model.config.head.dense_labels
    videos = []
    loss = count = 0.0
    for sample, rows in zip(samples, scores, strict=True):
        assert sample.targets is not None
        values = np.concatenate([r.tokens for r in rows if r.tokens is not None])  # (T, K)
        known = sample.targets != IGNORE
        values, targets = values[known], sample.targets[known]
        loss -= float(values[np.arange(len(values)), targets].sum())
        count += len(values)
        predicted = [names[i] for i in values.argmax(-1)]
        videos.append((predicted, [names[i] for i in targets]))
    result = segmentation_scores(videos)
    f1 = {f"f1@{round(100 * threshold)}": value for threshold, value in result.f1.items()}
    return {
        "accuracy": result.frame_accuracy,
        "loss": loss / max(count, 1),
        "edit": result.edit,
        **f1,
    }
