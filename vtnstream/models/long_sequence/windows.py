"""Classify sliding windows of a sequence through [CLS] and the MLP head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from vtnstream.errors import ModelError
from vtnstream.models.long_sequence.sequence_pass import feed_forward_numbers
from vtnstream.models.long_sequence.streaming import default_block_size, embed_blocks, encode_blocks
from vtnstream.models.vtn.model import VTN
from vtnstream.types import FeatureSequence, FloatArray, IndexArray

BLOCK = 256
"""Tokens read and embedded at a time."""

LONGEST_WINDOW = 1024
"""Tokens of the longest window that is encoded in one call. Longer windows are encoded one by one
in blocks, as whole sequences are, so that memory does not grow with the window."""


def windows_at_once(model: VTN, window: int) -> int:
    """Return the windows per batch: those of about 1,024 tokens.

    With fewer, reading the weights took a third of the time. A wide inner layer of the
    feed-forward network allows fewer.
    """
    temporal = model.config.temporal
    numbers = feed_forward_numbers(model.temporal_encoder.hidden_size, LONGEST_WINDOW)
    return max(1, min(numbers // temporal.intermediate_size, LONGEST_WINDOW) // window)


def encode_windows(
    model: VTN,
    features: FeatureSequence,
    *,
    starts: Sequence[int],
    window: int,
    batch_size: int | None = None,
) -> Iterator[tuple[int, FloatArray]]:
    """Classify windows of tokens; the result for each equals the plain model on that window.

    ``feature_norm`` and ``token_inputs`` are computed over the whole sequence: the first token of a
    window is compared with the token before it. Positions stay absolute, or start at 0 in each
    window with ``window_positions = "clip"``. The sequence is read once, and only the tokens that
    later windows need are held.

    Args:
        model: in evaluation mode, with an MLP head.
        features: N feature vectors with their grid positions.
        starts: first token of each window, not decreasing.
        window: tokens per window; only a single window may be longer than N.
        batch_size: windows encoded together; None chooses (:func:`windows_at_once`).

    Yields:
        (first token, logits (K,) float32), in the order of ``starts``.

    Raises:
        ModelError: the model has no MLP head.
    """
    if model.mlp_head is None:
        raise ModelError(
            f"model {model.config.name} has no class head for sliding windows: "
            "it can only localise densely"
        )
    size = batch_size or windows_at_once(model, window)
    reader = _Reader(model, features, window)
    for first in range(0, len(starts), size):
        batch = starts[first : first + size]
        yield from zip(batch, _classify(model, reader, batch), strict=True)


def _classify(model: VTN, reader: _Reader, starts: Sequence[int]) -> FloatArray:
    """Classify B windows: return (B, K) float32."""
    return classify_windows(model, *reader.take(starts))


@torch.inference_mode()
def classify_windows(model: VTN, tokens: Tensor, indices: IndexArray) -> FloatArray:
    """Classify windows of embedded tokens.

    Args:
        model: in evaluation mode, with an MLP head.
        tokens: (B, W, Dh).
        indices: (B, W) grid positions.

    Returns:
        (B, K) float32.
    """
    if model.config.temporal.window_positions == "clip":
        indices = indices - indices[:, :1]
    if indices.shape[1] > LONGEST_WINDOW:
        return np.stack([_classify_long(model, *one) for one in zip(tokens, indices, strict=True)])
    places = torch.from_numpy(indices).to(tokens.device)
    encoded = model.encode_tokens(tokens, indices=places, cls_only=True)  # (B, 1, Dh)
    logits: FloatArray = model.class_logits(encoded[:, 0]).float().cpu().numpy()
    return logits


def _classify_long(model: VTN, tokens: Tensor, indices: IndexArray) -> FloatArray:
    """Classify one long window (W, Dh) in blocks; return (K,) float32."""
    size = default_block_size(model, len(tokens))
    blocks = (tokens[i : i + size] for i in range(0, len(tokens), size))
    output = encode_blocks(model, blocks, indices, block_size=size, dense=False)
    logits = output.logits
    assert logits is not None
    return logits


class _Reader:
    """Read embedded tokens in order and drop those that no later window needs."""

    def __init__(self, model: VTN, features: FeatureSequence, window: int) -> None:
        self.window = window
        self.indices = features.times.indices
        self.blocks = embed_blocks(model, features, BLOCK)
        self.first = 0
        self.held = model.cls_token.new_empty(
            0, model.temporal_encoder.hidden_size, dtype=model.temporal_encoder.dtype
        )

    def take(self, starts: Sequence[int]) -> tuple[Tensor, IndexArray]:
        """Return the tokens (B, W, Dh) and grid positions (B, W) of windows that start at these
        tokens."""
        length = min(self.window, len(self.indices))
        stop = starts[-1] + length
        parts = [self.held]
        end = self.first + len(self.held)
        while end < stop:
            block = next(self.blocks)
            parts.append(block)
            end += len(block)
        self.held = torch.cat(parts)[starts[0] - self.first :].clone()  # frees the rest
        self.first = starts[0]
        rows = [slice(start - self.first, start - self.first + length) for start in starts]
        tokens = torch.stack([self.held[row] for row in rows])  # (B, W, Dh)
        places = np.stack([self.indices[start : start + length] for start in starts])
        return tokens, places
