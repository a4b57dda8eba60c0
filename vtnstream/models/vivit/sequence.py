"""Classify the features of a video with a ViViT, in clips or as one sequence.

The features of a factorised encoder belong to tubelet indices. Those of the other forms belong to
clips, and each is stored at the token where its clip begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

import numpy as np
import torch
from torch import Tensor

from vtnstream.errors import ModelError
from vtnstream.models.layers.vit_block import Block, heads, project, queries, scaled_attention
from vtnstream.models.long_sequence.output import SequenceOutput
from vtnstream.models.vivit.model import ViViT
from vtnstream.models.vivit.temporal import TemporalTransformer
from vtnstream.types import FeatureSequence, FloatArray, IndexArray

TOKENS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class ClipSpan:
    """A clip: tokens ``[first, stop)`` of a sequence."""

    first: int
    stop: int


@torch.inference_mode()
def encode_clips(
    model: ViViT, features: FeatureSequence, clips: Sequence[ClipSpan]
) -> Iterator[FloatArray]:
    """Classify clips; the result for each equals the plain model on that clip.

    ``feature_norm`` is computed over the whole sequence, which is read once.

    Args:
        model: in evaluation mode, with a class head.
        features: N feature vectors of the model's backbone.
        clips: in the order of their first tokens. In forms without a temporal transformer each
            begins at a token that holds the feature of a clip.

    Yields:
        logits (K,) float32 of each clip.

    Raises:
        ModelError: the model has no class head.
    """
    if model.head is None:
        raise ModelError(f"model {model.config.name} has no class head")
    reader = _Reader(model, features)
    for batch in _batches(clips):
        tokens, indices = [], []
        for clip in batch:
            stop = clip.first + 1 if model.temporal_encoder is None else clip.stop
            tokens.append(reader.take(clip.first, stop))
            indices.append(features.times.indices[clip.first : stop])
        cls = _encode(model, torch.stack(tokens), np.stack(indices))  # (B, D)
        yield from model.head(cls).float().cpu().numpy()


def _batches(clips: Sequence[ClipSpan]) -> Iterator[list[ClipSpan]]:
    """Group consecutive clips of equal length into batches of about 256 tokens."""
    for length, alike in groupby(clips, key=lambda clip: clip.stop - clip.first):
        while batch := list(islice(alike, max(1, TOKENS_AT_ONCE // length))):
            yield batch


def _encode(model: ViViT, tokens: Tensor, indices: IndexArray) -> Tensor:
    """Return the [CLS] vectors (B, D) of clips (B, T, D) at grid positions (B, T)."""
    encoder = model.temporal_encoder
    if encoder is None:
        return tokens[:, 0]
    if tokens.shape[1] > TOKENS_AT_ONCE:  # one clip
        states = _states(encoder, iter(tokens), indices[0], TOKENS_AT_ONCE)
        return _last_layer(encoder, states, TOKENS_AT_ONCE, cls_only=True)
    encoded: Tensor = encoder(tokens, torch.from_numpy(indices).to(model.device))
    return encoded[:, 0]


class _Reader:
    """Read normalised features in order and drop those that no later clip needs."""

    def __init__(self, model: ViViT, features: FeatureSequence) -> None:
        self.blocks = _normalised(model, features, TOKENS_AT_ONCE)
        self.held = torch.empty(0, features.num_features, device=model.device)
        self.first = 0

    def take(self, first: int, stop: int) -> Tensor:
        """Return the features (stop - first, D); ``first`` must not decrease from call to call."""
        while self.first + len(self.held) < stop:
            self.held = torch.cat((self.held, next(self.blocks)))
            self._forget(min(first, self.first + len(self.held)))
        self._forget(first)
        return self.held[: stop - first]

    def _forget(self, first: int) -> None:
        if first > self.first:
            self.held, self.first = self.held[first - self.first :].clone(), first


def _normalised(model: ViViT, features: FeatureSequence, size: int) -> Iterator[Tensor]:
    """Yield normalised features in consecutive blocks (T, D)."""
    normalize = model.feature_norm.over(features, size)
    for block in features.blocks(size):
        yield normalize(torch.tensor(block, device=model.device))


@torch.inference_mode()
def encode_whole(
    model: ViViT, features: FeatureSequence, *, block_size: int | None = None, dense: bool = True
) -> SequenceOutput:
    """Run the temporal transformer over a whole sequence of any length.

    Time grows with the square of the number of tokens. Memory is linear: states, keys and values
    (3 x N x D numbers) and the scores of one block of queries.

    Args:
        model: a factorised encoder in evaluation mode.
        features: N feature vectors with their grid positions.
        block_size: queries processed at a time; it changes results by rounding only.
        dense: whether to run the dense head.

    Returns:
        logits of the sequence and of its tokens.

    Raises:
        ModelError: the form has no temporal transformer.
    """
    encoder = model.temporal_encoder
    if encoder is None:
        raise ModelError(
            f"model {model.config.name} ({model.vivit.form}) takes clips, not whole videos"
        )
    size = block_size or TOKENS_AT_ONCE
    blocks = _normalised(model, features, size)
    states = _states(encoder, blocks, features.times.indices, size)
    wants_tokens = dense and model.dense_head is not None
    states = _last_layer(encoder, states, size, cls_only=not wants_tokens)
    logits = None if model.head is None else model.head(states[0]).float().cpu().numpy()
    dense_logits = None
    if wants_tokens and model.dense_head is not None:
        parts = torch.split(states[1:], size)
        dense_logits = np.concatenate([model.dense_head(p).float().cpu().numpy() for p in parts])
    return SequenceOutput(logits, dense_logits)


def _states(
    encoder: TemporalTransformer, blocks: Iterator[Tensor], indices: IndexArray, size: int
) -> Tensor:
    """Return the states (1 + N, D) before the last layer."""
    ends = torch.tensor(indices[[0, -1]], device=encoder.cls_token.device)[:, None, None]
    states = encoder.cls_token.new_empty(1 + len(indices), encoder.cls_token.shape[-1])
    states[:1] = encoder.start()[0]
    start = 0
    for block in blocks:
        places = torch.tensor(indices[start : start + len(block)], device=states.device)[None]
        placed = block.to(states.dtype) + encoder.positions(places, *ends)[0]
        states[1 + start : 1 + start + len(block)] = placed
        start += len(block)
    for layer in encoder.layers[:-1]:
        _advance(layer, states, len(states), size)
    return states


def _last_layer(
    encoder: TemporalTransformer, states: Tensor, size: int, *, cls_only: bool
) -> Tensor:
    """Run the last layer and the norm: (1 + N, D), or (1, D) with ``cls_only``."""
    count = 1 if cls_only else len(states)
    _advance(encoder.layers[-1], states, count, size)
    for start in range(0, count, size):
        rows = slice(start, min(start + size, count))
        states[rows] = encoder.norm(states[rows])
    return states[:count]


def _advance(layer: Block, states: Tensor, count: int, size: int) -> None:
    """Run one block over the first ``count`` rows, in place. All keys and values are computed
    before a state is overwritten."""
    attention = layer.attn
    keys = values = states.new_empty(0)
    for start in range(0, len(states), size):
        rows = slice(start, start + size)
        _, key, value = heads(attention, layer.norm1(states[rows]))
        if not len(keys):
            keys = key.new_empty(len(states), *key.shape[1:])  # (1 + N, H, Dh)
            values = torch.empty_like(keys)
        keys[rows], values[rows] = key, value
    for start in range(0, count, size):
        rows = slice(start, min(start + size, count))
        normal = layer.norm1(states[rows])
        attended = scaled_attention(
            attention, queries(attention, normal)[None], keys[None], values[None]
        )[0]
        mixed = states[rows] + layer.ls1(project(attention, attended, normal))
        states[rows] = layer.feed_forward(mixed)
