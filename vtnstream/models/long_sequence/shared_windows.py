"""Classify sliding windows during the pass over the whole sequence, sharing the first layer.

In the first layer the state, key and value of a token are the same in the whole sequence and in
every window. Its output is the same too, except for tokens so near to the border of a window that
their attention reaches across it. Only these border tokens pass the first layer again. From the
second layer on each window has its own [CLS] and therefore its own states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vtnstream.models.layers.attention import KeyValue
from vtnstream.models.long_sequence.held_rows import HeldRows
from vtnstream.models.long_sequence.windows import LONGEST_WINDOW, windows_at_once
from vtnstream.models.vtn.model import VTN
from vtnstream.models.vtn.temporal import TemporalEncoder
from vtnstream.types import FloatArray, IndexArray

EmitLogits = Callable[[int, FloatArray], None]
"""Called with the index of a window's first token and the window's logits (K,) float32."""


class SharedWindows:
    """Classify sliding windows while their sequence is encoded.

    Follows the first layer of :func:`~vtnstream.models.long_sequence.streaming.encode_sequence`
    and classifies each window after its last token. The result equals
    :func:`~vtnstream.models.long_sequence.windows.encode_windows` up to rounding. Only the
    tokens that a waiting window needs are held.

    Args:
        model: a model that :meth:`supports` accepts.
        indices: (N,) grid positions of the whole sequence.
        starts: first token of each window, not decreasing; every window lies in the sequence.
        window: tokens per window.
        emit: called for each window in order.
    """

    def __init__(
        self,
        model: VTN,
        indices: IndexArray,
        starts: Sequence[int],
        window: int,
        emit: EmitLogits,
    ) -> None:
        assert isinstance(model.temporal_encoder, TemporalEncoder)
        self._model, self._encoder = model, model.temporal_encoder
        self._attention = self._encoder.layers[0].attention.self
        self._places = indices
        self._starts, self._window, self._emit = starts, window, emit
        self._size = windows_at_once(model, window)
        self._next = 0  # first window that was not classified yet
        self._first = 0  # token of the first row held
        like = self._attention.query.weight
        heads = (self._attention.num_heads, self._attention.head_dim)
        self._inputs = HeldRows(like, like.shape[0])  # (T, D)
        self._keys, self._values = (HeldRows(like, *heads) for _ in range(2))  # (T, H, Dh)
        self._outputs = HeldRows(like, like.shape[0])  # (T', D), T' <= T

    @staticmethod
    def supports(model: VTN, num_tokens: int, window: int) -> bool:
        """Return whether windows can share the first layer with the whole sequence.

        They can if some tokens of a window attend only within it, and positions do not restart
        in each window.

        Args:
            model: any VTN.
            num_tokens: N.
            window: tokens per window.
        """
        encoder = model.temporal_encoder
        if not isinstance(encoder, TemporalEncoder) or encoder.config.causal:
            return False
        if encoder.config.window_positions == "clip" or len(encoder.layers) < 2:
            return False
        reach = encoder.layers[0].attention.self.reach(num_tokens)
        return 2 * reach < window <= min(num_tokens, LONGEST_WINDOW)

    def take_inputs(self, states: Tensor, around: KeyValue) -> None:
        """Copy the next tokens (1, T, D) as they enter the first layer, with their keys and values
        (1, T, H, Dh)."""
        self._inputs.append(states[0])
        self._keys.append(around.key[0])
        self._values.append(around.value[0])

    def take_outputs(self, states: Tensor) -> None:
        """Copy the next tokens (T, D) as they leave the first layer, and classify the windows that
        are complete."""
        self._outputs.append(states)
        stop = self._first + len(self._outputs.rows)
        while batch := self._starts[self._next : self._next + self._size]:
            if batch[-1] + self._window > stop:
                break
            for start, logits in zip(batch, self._classify(batch), strict=True):
                self._emit(start, logits)
            self._next += len(batch)
        self._forget(batch[0] if batch else stop)

    def _forget(self, first: int) -> None:
        """Drop the rows of tokens before ``first``."""
        drop = first - self._first
        if drop > 0:
            for held in (self._inputs, self._keys, self._values, self._outputs):
                held.forget(drop)
            self._first = first

    def _classify(self, starts: Sequence[int]) -> FloatArray:
        """Return the logits (B, K) of the windows that start at these B tokens."""
        encoder, device = self._encoder, self._inputs.rows.device
        rows = torch.tensor(starts, device=device)[:, None] - self._first
        rows = rows + torch.arange(self._window, device=device)  # (B, W)
        places = torch.from_numpy(self._places[self._first :][rows.cpu().numpy()]).to(device)
        before = encoder.embed_cls(self._model.all_global_tokens()).expand(len(starts), -1, -1)
        cls = encoder.cls_layers[0].forward_cls(self._inputs.rows[rows], before, None)  # (B, G, D)
        tokens = self._outputs.rows[rows]  # (B, W, D)
        reach = self._attention.reach(self._window)
        if reach:
            tokens[:, :reach], tokens[:, -reach:] = self._borders(rows, places, before, reach)
        encoded = encoder.forward_layers(tokens, cls, places, first=1, cls_only=True)
        logits: FloatArray = self._model.class_logits(encoded[:, 0]).float().cpu().numpy()
        return logits

    def _borders(
        self, rows: Tensor, places: Tensor, cls: Tensor, reach: int
    ) -> tuple[Tensor, Tensor]:
        """Run the first layer again for tokens whose attention reaches across a window's border.

        Args:
            rows: (B, W) row of each token in the held tensors.
            places: (B, W) grid positions.
            cls: (B, G, D) as it enters the layer.
            reach: r, tokens on each side that a token attends to.

        Returns:
            the first r and the last r tokens of each window, each (B, r, D).
        """
        layer, attended, inputs = self._encoder.layers[0], [], []
        for asking, seen, offset in (
            (slice(None, reach), slice(None, 2 * reach), 0),
            (slice(-reach, None), slice(-2 * reach, None), reach),
        ):
            states = self._inputs.rows[rows[:, asking]]  # (B, r, D)
            around = KeyValue(self._keys.rows[rows[:, seen]], self._values.rows[rows[:, seen]])
            angles = self._encoder.rotation(places[:, asking])
            made = self._attention.local(states, around, cls, angles=angles, offset=offset)
            attended.append(made)
            inputs.append(states)
        first, last = layer.finish(torch.cat(attended), torch.cat(inputs)).chunk(2)
        return first, last
