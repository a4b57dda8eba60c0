"""A convolutional temporal encoder over sequences of any length.

The sequence is processed in blocks, each with the tokens around it that its output depends on. The
results equal those of one pass over the whole sequence up to rounding. Memory does not grow.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from vtnstream.models.vtn.model import VTN
from vtnstream.models.vtn.tcn import TcnEncoder, tcn_reach
from vtnstream.types import FloatArray

BLOCK = 2048
"""Fewest tokens processed at a time: in small blocks most of the work would be the tokens around
the block, which are computed twice."""


class ConvolutionPass:
    """A sequence passing through a ``tcn`` encoder from its first token.

    Args:
        model: in evaluation mode.
        encoder: its temporal encoder.
        dense: whether to run the dense head.

    Attributes:
        count: tokens returned so far.
        total: (H,) float64 sum of their states.
    """

    def __init__(self, model: VTN, encoder: TcnEncoder, *, dense: bool) -> None:
        self.model, self.encoder = model, encoder
        self.dense = dense and model.dense_head is not None
        self.before, self.after = tcn_reach(encoder.config)
        self.count = 0
        self.total = torch.zeros(
            encoder.hidden_size, dtype=torch.float64, device=model.cls_token.device
        )
        self._held = model.cls_token.new_empty(0, encoder.hidden_size)
        self._first = 0  # index of the token in the first held row

    @property
    def waiting(self) -> int:
        """Number of held tokens whose output needs no later token."""
        return self._first + len(self._held) - self.after - self.count

    def add(self, tokens: Tensor) -> None:
        """Add the next embedded tokens (T, H)."""
        self._held = torch.cat((self._held, tokens))

    def answer(self, *, end: bool) -> tuple[Tensor, Tensor | None]:
        """Encode all tokens whose neighbours are known.

        Args:
            end: whether the held tokens are the last of the sequence.

        Returns:
            states (T, H) of the next tokens, and their logits (T, K) or None.
        """
        made = self._first + len(self._held)
        ready = made if end else max(made - self.after, self.count)
        start = self.count - self._first
        stop = ready - self._first
        window = self._held[: min(stop + self.after, len(self._held))][None]  # (1, S, H)
        states = self.encoder.states(window)
        logits = None
        if self.dense:
            logits = self.model.token_logits(states)[0, start:stop]
        states = states[0, start:stop]
        self.total = self.total + states.double().sum(0)
        self.count = ready
        drop = max(self.count - self.before - self._first, 0)
        self._held = self._held[drop:].clone()
        self._first += drop
        return states, logits

    def cls(self) -> Tensor:
        """Return [CLS] of the tokens returned so far: (1, H)."""
        mean = (self.total / max(self.count, 1)).to(self.model.cls_token.dtype)
        return self.model.cls_token[0] + mean


def encode_convolutions(
    model: VTN, encoder: TcnEncoder, tokens: Iterable[Tensor], size: int, *, dense: bool
) -> tuple[FloatArray | None, FloatArray | None]:
    """Encode a whole sequence in blocks.

    Args:
        model: in evaluation mode.
        encoder: its temporal encoder.
        tokens: consecutive embedded blocks (T, H).
        size: tokens processed at a time, at least :data:`BLOCK`.
        dense: whether to run the dense head.

    Returns:
        logits (K,) and dense logits (N, Kd); None if the model has no such head or it was not
        requested.
    """
    running = ConvolutionPass(model, encoder, dense=dense)
    parts: list[FloatArray] = []

    def work(end: bool) -> None:
        _, logits = running.answer(end=end)
        if logits is not None:
            parts.append(logits.float().cpu().numpy())

    size = max(size, BLOCK)
    for block in tokens:
        running.add(block)
        if running.waiting >= size:
            work(False)
    work(True)
    logits = dense_logits = None
    if model.mlp_head is not None:
        logits = model.class_logits(running.cls())[0].float().cpu().numpy()  # (K,)
    if dense and model.dense_head is not None:
        dense_logits = np.concatenate(parts)
    return logits, dense_logits
