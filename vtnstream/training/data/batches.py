"""Group samples into padded batches: long sequences are cropped, similar lengths grouped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from vtnstream.models.vtn.token_inputs import TokenInputs
from vtnstream.training.data.features import read_span
from vtnstream.training.data.frames import FrameSequence
from vtnstream.training.data.targets import IGNORE, Sample
from vtnstream.types import IndexArray

_BUCKET = 8
"""Number of batches that are sorted by length together: little padding, yet a random order."""


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of a sample.

    Attributes:
        sample: the sample.
        start: first token, counted from the first one of the sample.
        stop: end of the tokens that may be used.
        stride: distance between tokens.
        count: number of tokens if there is a stride, else 0; the last token is repeated if fewer
            exist.
    """

    sample: Sample
    start: int
    stop: int
    stride: int = 1
    count: int = 0

    def __len__(self) -> int:
        return self.count or self.stop - self.start

    def places(self) -> IndexArray:
        """Return the (T,) positions of the tokens within the sample."""
        steps = self.start + self.stride * np.arange(len(self), dtype=np.int64)
        return np.minimum(steps, self.stop - 1)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """B sequences padded to T tokens.

    Attributes:
        inputs: (B, T, E) float32 inputs of the temporal embedding: normalised features and,
            depending on the model's ``token_inputs``, their differences from neighbours. When
            training from pixels, (B, T, H, W, 3) uint8 frames.
        indices: (B, T) int64 grid positions.
        padding_mask: (B, T) bool, True for real tokens; None if all are real.
        labels: (B,) int64, or (B, H) columns of the class logits for H class heads, or None.
        targets: (B, T) int64 with :data:`~vtnstream.training.data.targets.IGNORE` in the padding,
            or None.
        counts: False in a process without a part of the batch, which takes part in communication
            only.
    """

    inputs: Tensor
    indices: Tensor
    padding_mask: Tensor | None
    labels: Tensor | None
    targets: Tensor | None
    counts: bool = True

    @property
    def holds_frames(self) -> bool:
        """Whether ``inputs`` are frames."""
        return self.inputs.ndim == 5

    def to(self, device: torch.device) -> Batch:
        """Return the batch on another device."""

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device)

        return Batch(
            self.inputs.to(device),
            self.indices.to(device),
            move(self.padding_mask),
            move(self.labels),
            move(self.targets),
            self.counts,
        )


def random_crop(
    sample: Sample,
    max_tokens: int,
    generator: np.random.Generator,
    stride: int | None = None,
) -> Crop:
    """Return a whole sample, or a random window of ``max_tokens`` if it is longer.

    With a ``stride``, the result has exactly ``max_tokens`` tokens at that distance, from a
    random token on.
    """
    if stride is not None:
        room = len(sample) - (max_tokens - 1) * stride
        start = int(generator.integers(max(room, 1)))
        return Crop(sample, start, len(sample), stride, max_tokens)
    if len(sample) <= max_tokens:
        return Crop(sample, 0, len(sample))
    start = int(generator.integers(len(sample) - max_tokens + 1))
    return Crop(sample, start, start + max_tokens)


def plan_batches(
    crops: Sequence[Crop],
    batch_size: int,
    batch_tokens: int,
    generator: np.random.Generator | None = None,
) -> list[list[Crop]]:
    """Distribute crops over batches.

    Args:
        crops: all crops of one epoch.
        batch_size: maximum number of sequences per batch.
        batch_tokens: maximum number of tokens per batch, padding included; a single sequence may
            exceed it.
        generator: shuffles the crops; None sorts them by length.
    """
    order = np.arange(len(crops)) if generator is None else generator.permutation(len(crops))
    bucket = batch_size * _BUCKET if generator is not None else max(len(crops), 1)
    batches: list[list[Crop]] = []
    for first in range(0, len(order), bucket):
        part = sorted((crops[i] for i in order[first : first + bucket]), key=len)
        current: list[Crop] = []
        for crop in part:
            full = len(current) >= batch_size or (len(current) + 1) * len(crop) > batch_tokens
            if current and full:
                batches.append(current)
                current = []
            current.append(crop)
        if current:
            batches.append(current)
    if generator is not None:
        batches = [batches[i] for i in generator.permutation(len(batches))]
    return batches


def assemble(crops: Sequence[Crop], rows: Sequence[Tensor], *, clip_positions: bool) -> Batch:
    """Combine B crops and their inputs to a batch."""
    longest = max(len(crop) for crop in crops)
    count = len(crops)
    indices = np.zeros((count, longest), np.int64)
    mask = np.zeros((count, longest), bool)
    targets = np.full((count, longest), IGNORE, np.int64)
    for row, crop in enumerate(crops):
        sample, length = crop.sample, len(crop)
        places = sample.start + crop.places()
        times = sample.features.times.indices[places]
        if crop.count:  # a repeated last frame has the position of the missing one
            times = times[0] + crop.stride * np.arange(length)
        indices[row, :length] = times - times[0] if clip_positions else times
        mask[row, :length] = True
        if sample.targets is not None:
            targets[row, :length] = sample.targets[crop.places()]
    labels = [crop.sample.label for crop in crops]
    dense = crops[0].sample.targets is not None
    return Batch(
        rows[0][None] if count == 1 else pad_sequence(list(rows), batch_first=True),
        torch.from_numpy(indices),
        None if mask.all() else torch.from_numpy(mask),
        None if None in labels else torch.tensor(labels),
        torch.from_numpy(targets) if dense else None,
    )


def read_crop(crop: Crop, token_inputs: TokenInputs | None) -> Tensor:
    """Read the inputs of one crop: (T, E) float32, or (T, H, W, 3) uint8 of a sequence of frames.

    ``token_inputs`` also reads the tokens around the crop, with which its first and last ones
    are compared.

    Raises:
        VideoError: the frames cannot be decoded.
    """
    features = crop.sample.features
    places = crop.sample.start + crop.places()
    start, stop = int(places[0]), int(places[-1]) + 1
    if isinstance(features, FrameSequence):
        frames = features.span(start, stop)
        return torch.from_numpy(frames[places - start] if crop.count else frames)
    if token_inputs is None:
        return torch.tensor(read_span(features, start, stop)[places - start])
    first = max(start - token_inputs.before, 0)
    last = min(stop + token_inputs.after, len(features.times))
    around = torch.tensor(read_span(features, first, last))[None]  # (1, S, D)
    index = torch.tensor(features.times.indices[first:last])[None]
    inputs: Tensor = token_inputs(around, index)[0]
    return inputs[torch.from_numpy(places - first)]


def epoch_crops(
    samples: Sequence[Sample],
    *,
    max_tokens: int,
    batch_size: int,
    batch_tokens: int,
    generator: np.random.Generator,
    stride: int | None = None,
) -> list[list[Crop]]:
    """Return the batches of one epoch: each sample once, in random order and with new crops."""
    crops = [random_crop(sample, max_tokens, generator, stride) for sample in samples]
    return plan_batches(crops, batch_size, batch_tokens, generator)
