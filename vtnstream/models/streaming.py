"""The temporal encoder over sequences of any length, in blocks of tokens.

Layer by layer, in place: one buffer of N x D states, and for each block its queries, the
keys and values of its surroundings, and a running softmax for [CLS]. Equal to
``VTN.forward_features`` on the whole sequence up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vtnstream.models.causal import encode_causally
from vtnstream.models.layers.attention import GlobalSoftmax
from vtnstream.models.layers.positions import Rotation
from vtnstream.models.states import state_buffer
from vtnstream.models.surroundings import Surroundings
from vtnstream.models.temporal import LongformerLayer, TemporalEncoder
from vtnstream.models.transformers_encoder import TransformersEncoder
from vtnstream.models.vtn import VTN
from vtnstream.types import FeatureSequence, FloatArray, IndexArray

FEED_FORWARD_NUMBERS = 2**20
"""Numbers of the feed-forward's inner layer held at once (4 MB), or a block of four times the
states' width: it may be much wider than they are, and the largest thing in memory then."""

Emit = Callable[[int, Tensor], None]
"""Takes the first token's number and the block's new states (T, Dh)."""


@dataclass(frozen=True, slots=True, eq=False)
class SequenceOutput:
    """What the heads say of one sequence of N tokens.

    Attributes:
        logits: (K,) float32 of the whole sequence, or None without an MLP head.
        dense_logits: (N, Kd) float32 of each token, or None without a dense head.
        attention: (layers, H, N) float32, what [CLS] gives to each token in the layers that
            were asked for; the rest to 1 is what it gives itself.
    """

    logits: FloatArray | None
    dense_logits: FloatArray | None
    attention: FloatArray | None = None


@torch.inference_mode()
def encode_sequence(
    model: VTN,
    features: FeatureSequence,
    *,
    block_size: int | None = None,
    dense: bool = True,
    attention: Collection[int] = (),
    scratch: Path | None = None,
) -> SequenceOutput:
    """Read a whole sequence: memory for its states (N, Dh) once, and O(block); of ``kind =
    "full"`` keys and values too (3 N Dh). A class of ``transformers`` is given all at once.

    Args:
        model: in evaluation mode (dropout would differ from block to block).
        features: N feature vectors with their grid positions, in memory or on disk.
        block_size: tokens worked at a time; None chooses. It changes nothing beyond
            rounding.
        dense: whether the dense head is wanted.
        attention: numbers of the layers whose [CLS] row is wanted, from 0 or, counted from
            the last, from -1; H x N numbers each.
        scratch: folder for states of more than
            :data:`~vtnstream.models.states.STATES_IN_MEMORY` bytes.

    Returns:
        logits of the sequence and of its tokens.

    Raises:
        StoreError: such states have no room on disk.
    """
    size = block_size or default_block_size(model, len(features.times))
    return encode_blocks(
        model,
        embed_blocks(model, features, size),
        features.times.indices,
        block_size=size,
        dense=dense,
        attention=attention,
        scratch=scratch,
    )


def embed_blocks(model: VTN, features: FeatureSequence, size: int) -> Iterator[Tensor]:
    """A sequence through ``feature_norm`` and the temporal embedding: consecutive blocks
    (T, Dh) of about ``size`` tokens, equal to the plain pass over all of it."""
    normalize = model.feature_norm.over(features, size)
    device = model.cls_token.device
    normal = (normalize(torch.tensor(block, device=device)) for block in features.blocks(size))
    for inputs in model.token_inputs.in_blocks(normal, features.times.indices):
        yield model.project(inputs)  # (T, Dh)


@torch.inference_mode()
def encode_blocks(
    model: VTN,
    tokens: Iterable[Tensor],
    indices: IndexArray,
    *,
    block_size: int,
    dense: bool = True,
    attention: Collection[int] = (),
    scratch: Path | None = None,
) -> SequenceOutput:
    """The same from embedded tokens.

    Args:
        model: in evaluation mode.
        tokens: consecutive blocks (T, Dh) of N tokens.
        indices: (N,) grid positions.
        block_size: tokens worked at a time.
        dense: whether the dense head is wanted.
        attention: layers whose [CLS] row is wanted.
        scratch: folder for states that outgrow memory.
    """
    wants_tokens = dense and model.dense_head is not None
    encoder = model.temporal_encoder
    if isinstance(encoder, TransformersEncoder):
        return _encode_at_once(model, tokens, indices, wants_tokens)
    if encoder.config.causal:
        return SequenceOutput(
            *encode_causally(
                model, encoder, tokens, indices, dense=wants_tokens, attention=attention
            )
        )
    encoding = _Encoding(model, encoder, tokens, indices, block_size, attention)
    dense_logits = encoding.run(wants_tokens, scratch)
    logits = None
    if model.mlp_head is not None:
        logits = model.class_logits(encoding.cls[:, 0])[0].float().cpu().numpy()  # (K,)
    rows = np.stack(encoding.rows) if encoding.rows else None  # (layers, H, N)
    return SequenceOutput(logits, dense_logits, rows)


def _encode_at_once(
    model: VTN, tokens: Iterable[Tensor], indices: IndexArray, wants_tokens: bool
) -> SequenceOutput:
    """A class of ``transformers``, which sees the sequence whole."""
    parts = list(tokens)
    like = model.cls_token.new_empty(0, model.temporal_encoder.hidden_size)
    whole = torch.cat(parts) if parts else like  # (N, Dh)
    places = torch.tensor(indices, device=whole.device)[None]
    encoded = model.encode_tokens(whole[None], indices=places, cls_only=not wants_tokens)
    logits = dense_logits = None
    if model.mlp_head is not None:
        logits = model.class_logits(encoded[:, 0])[0].float().cpu().numpy()
    if wants_tokens:
        dense_logits = model.token_logits(encoded[0, 1:]).float().cpu().numpy()
    return SequenceOutput(logits, dense_logits)


def default_block_size(model: VTN, num_tokens: int) -> int:
    """Large on an accelerator. On a CPU matrix products are at full speed from about 1,024 rows
    on; more are taken only as they stay small beside the states of the whole sequence."""
    if model.cls_token.is_cuda:
        return 8192
    return min(max(num_tokens // 64 // 64 * 64, 1024), 2048)


class _Encoding:
    """One pass over one sequence."""

    def __init__(
        self,
        model: VTN,
        encoder: TemporalEncoder,
        tokens: Iterable[Tensor],
        places: IndexArray,
        size: int,
        watched: Collection[int] = (),
    ) -> None:
        self.model = model
        self.tokens = tokens
        self.places = places
        self.size = size
        self.count = len(places)
        self.encoder = encoder
        self.cls = self.encoder.embed_cls(model.all_global_tokens())  # (1, G, Dh)
        layers = self.encoder.layers
        self.of_cls = dict(zip(map(id, layers), self.encoder.cls_layers, strict=True))
        self.watched = {id(layers[number]) for number in watched}
        self.rows: list[FloatArray] = []  # (H, N) of each watched layer, in order

    def run(self, wants_tokens: bool, scratch: Path | None) -> FloatArray | None:
        """All layers; leaves [CLS] in ``self.cls`` and returns (N, Kd) where wanted."""
        *layers, last = self.encoder.layers
        if not layers and not wants_tokens:
            self.cls = self.look(last, self.embed())
            return None
        size = self.encoder.hidden_size
        like = self.encoder.embeddings.LayerNorm.weight
        with state_buffer(like, self.count, size, scratch) as buffer:

            def store(start: int, block: Tensor) -> None:
                buffer[start : start + len(block)] = block

            for start, block in self.embed():
                store(start, block[0])
            for layer in layers:
                self.advance(layer, buffer, store)
            if wants_tokens:
                return self.dense(last, buffer)
            self.cls = self.look(last, self.blocks(buffer))
            return None

    def embed(self) -> Iterator[tuple[int, Tensor]]:
        """Tokens with position and type, block by block: (first token, (1, T, Dh))."""
        start = 0
        for block in self.tokens:
            stop = start + len(block)
            yield start, self.encoder.embeddings(block[None], self.indices(start, stop))
            start = stop

    def indices(self, start: int, stop: int) -> Tensor:
        """Grid positions (1, T) of tokens ``start`` to ``stop``."""
        part = torch.tensor(self.places[start:stop], device=self.model.cls_token.device)
        return part[None]

    def blocks(self, buffer: Tensor) -> Iterator[tuple[int, Tensor]]:
        """The buffer's states in blocks: (first token, (1, T, Dh))."""
        for start in range(0, self.count, self.size):
            yield start, buffer[None, start : start + self.size]

    def look(self, layer: LongformerLayer, states: Iterator[tuple[int, Tensor]]) -> Tensor:
        """[CLS] after one layer, nothing else: (1, 1, Dh)."""
        running = self.begin(layer)
        for _, block in states:
            _update(layer, running, block)
        return self.end(layer, running)

    def dense(self, layer: LongformerLayer, buffer: Tensor) -> FloatArray:
        """The last layer into the dense head, whose logits (N, Kd) are all that is kept."""
        head = self.model.dense_head
        assert head is not None
        logits = np.empty((self.count, head.out_features), np.float32)

        def classify(start: int, block: Tensor) -> None:
            made = self.model.token_logits(block)
            logits[start : start + len(block)] = made.float().cpu().numpy()

        self.advance(layer, buffer, classify)
        return logits

    def advance(self, layer: LongformerLayer, buffer: Tensor, emit: Emit) -> None:
        """One layer over all tokens and [CLS]. Keys and values are made ahead of the block and
        kept behind it, so every state is read before its block overwrites it."""
        running = self.begin(layer)

        def read(first: int, last: int) -> tuple[Tensor, Rotation | None]:
            return buffer[None, first:last], self.encoder.rotation(self.indices(first, last))

        around = Surroundings(layer.attention.self, self.count, self.size, read)
        most = max(FEED_FORWARD_NUMBERS, 4 * self.encoder.hidden_size * self.size)
        rows = max(most // layer.intermediate.dense.out_features, 16)
        for start in range(0, self.count, self.size):
            stop = min(start + self.size, self.count)
            block = buffer[None, start:stop]  # (1, T, Dh)
            _update(layer, running, block)
            mixed = self.mix(layer, around, start, block)  # (T, Dh)
            for part in range(0, len(mixed), rows):
                emit(start + part, layer.feed_forward(mixed[part : part + rows]))
        self.cls = self.end(layer, running)

    def begin(self, layer: LongformerLayer) -> GlobalSoftmax:
        """[CLS] starts to look."""
        watched = id(layer) in self.watched
        attention = self.of_cls[id(layer)].attention.self
        return attention.begin_global(self.cls, keep_weights=watched)

    def end(self, layer: LongformerLayer, running: GlobalSoftmax) -> Tensor:
        """[CLS] has looked: its new state (1, 1, Dh)."""
        if running.scores is not None:
            row = running.weights()[0, 0, :, self.cls.shape[1] :]  # (H, N)
            if not layer.attention.self.global_attention:
                row = row.new_zeros(len(row), self.count)
            self.rows.append(row.cpu().numpy())
        layer = self.of_cls[id(layer)]
        return layer.finish(layer.attention.self.end_global(running), self.cls)

    def mix(
        self, layer: LongformerLayer, around: Surroundings, start: int, block: Tensor
    ) -> Tensor:
        """The attention half of a layer for a block (1, T, Dh) -> (T, Dh)."""
        stop = start + block.shape[1]
        near, offset = around.move(start, stop)
        turn = self.encoder.rotation(self.indices(start, stop))
        attended = layer.attention.self.local(block, near, self.cls, turn=turn, offset=offset)
        mixed: Tensor = layer.attention.output(attended, block)[0]
        return mixed


def _update(layer: LongformerLayer, running: GlobalSoftmax, block: Tensor) -> None:
    if layer.attention.self.global_attention:
        running.update(block)
