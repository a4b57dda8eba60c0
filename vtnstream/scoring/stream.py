"""Score the tokens of a stream: final scores, and provisional scores of the latest tokens."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from vtnstream.config import TimelineConfig
from vtnstream.errors import UsageError
from vtnstream.localization.window_scores import triangular_weights
from vtnstream.models.long_sequence.online import OnlineModel
from vtnstream.models.long_sequence.stream_embedding import StreamEmbedding
from vtnstream.models.long_sequence.windows import classify_windows
from vtnstream.models.vtn.model import VTN
from vtnstream.scoring.probabilities import probabilities
from vtnstream.types import FloatArray, TokenTimes

Scored = tuple[FloatArray, TokenTimes]
"""(n, K) probabilities and their n tokens."""


class StreamScores(Protocol):
    """Interface of a method that scores a stream.

    Attributes:
        track: ``dense`` or ``sliding``.
        labels: K names.
        delay_tokens: number of later tokens after which the scores of a token are final.
    """

    track: str
    labels: tuple[str, ...]
    delay_tokens: int

    def push(self, values: FloatArray, times: TokenTimes) -> Scored:
        """Take features (T, D) of the next tokens; return the tokens that became final."""
        ...

    def pending(self) -> Scored:
        """Return the tokens that are not final, with the scores they get if the stream ends now."""
        ...


def stream_scores(model: VTN, options: TimelineConfig) -> StreamScores:
    """Return the method with which a model follows a stream: a causal model scores each token at
    once, other models use sliding windows.

    Raises:
        UsageError: the model cannot follow a stream, or not with these options.
    """
    head, name = model.config.head, model.config.name
    causal = model.config.temporal.causal and bool(head.dense_labels)
    if options.localize == "both":
        raise UsageError("--localize both and --follow exclude each other: choose dense or sliding")
    if options.localize == "dense" and not causal:
        raise UsageError(
            f"model {name} needs the whole video for its dense head: --follow needs a model "
            "trained with temporal.causal, or --localize sliding"
        )
    if causal and options.localize != "sliding" and options.window is None:
        if head.events is not None:
            raise UsageError(f"model {name} finds events, which --follow does not support")
        return CausalScores(model)
    if not head.labels:
        raise UsageError(
            f"model {name} has no class head for sliding windows, and its dense head needs the "
            "whole video: --follow needs one trained with temporal.causal, or with a class head"
        )
    if head.heads:
        raise UsageError(
            f"model {name} has several class heads ({', '.join(head.heads)}), which --follow does "
            "not support: use classify or timeline on a whole video"
        )
    if model.config.feature_norm == "video_mean":
        raise UsageError(
            f"model {name} subtracts the mean of the whole video (feature_norm video_mean), which "
            "a stream does not have: train a model with running_mean or dataset"
        )
    return SlidingStream(model, options.num_window_tokens, options.num_stride_tokens)


class CausalScores:
    """Scores of the dense head of a causal model. A token is final when the next token begins,
    because its end is known then."""

    track = "dense"
    delay_tokens = 1

    def __init__(self, model: VTN) -> None:
        self.labels = model.config.head.dense_labels
        self._multi_label = model.config.head.multi_label
        self._online = OnlineModel(model)
        self._device = model.cls_token.device
        self._scores = np.empty((0, len(self.labels)), np.float32)
        self._times = TokenTimes.empty()

    def push(self, values: FloatArray, times: TokenTimes) -> Scored:
        logits = self._online.push(
            torch.tensor(values, device=self._device),
            torch.tensor(times.indices, device=self._device),
        ).dense_logits
        assert logits is not None
        found = probabilities(logits.float().cpu().numpy().copy(), self._multi_label)
        scores = np.concatenate([self._scores, found])
        whole = TokenTimes.concatenate([self._times, times])
        self._scores, self._times = scores[-1:], whole[-1:]
        return scores[:-1], whole[:-1]

    def pending(self) -> Scored:
        return self._scores, self._times


class SlidingStream:
    """Sliding windows through the class head, as over a whole video. The last window of a video
    is shifted back to end with it, so a token is final once a whole window can follow it."""

    track = "sliding"

    def __init__(self, model: VTN, window: int, stride: int) -> None:
        self.labels = model.config.head.labels
        self.delay_tokens = window + model.token_inputs.after
        self._model, self._window, self._stride = model, window, stride
        self._embedding = StreamEmbedding(model)
        self._tokens = self._embedding.rest()  # (n, Dh), of which the first is token `_first`
        self._times = TokenTimes.empty()
        self._first = 0
        self._next = 0  # start of the next whole window
        self._sums = np.zeros((0, len(self.labels)), np.float32)  # from token `_first` on
        self._weights = np.zeros(0, np.float32)

    def push(self, values: FloatArray, times: TokenTimes) -> Scored:
        tokens = self._embedding.push(values, times.indices)
        self._tokens = torch.cat((self._tokens, tokens))
        self._times = TokenTimes.concatenate([self._times, times])
        self._grow(len(self._times))
        self._slide(self._tokens, self._sums, self._weights, self._stop)
        final = max(self._stop - self._window - self._first, 0)
        found = self._sums[:final] / self._weights[:final, None], self._times[:final]
        self._forget(final)
        return found

    @property
    def _stop(self) -> int:
        """One past the last embedded token."""
        return self._first + len(self._tokens)

    def _grow(self, count: int) -> None:
        more = count - len(self._weights)
        self._sums = np.concatenate([self._sums, np.zeros((more, len(self.labels)), np.float32)])
        self._weights = np.concatenate([self._weights, np.zeros(more, np.float32)])

    def _slide(
        self, tokens: torch.Tensor, sums: FloatArray, weights: FloatArray, stop: int
    ) -> None:
        """Classify the complete windows up to token ``stop``."""
        while self._next + self._window <= stop:
            self._add(tokens, sums, weights, self._next, self._window)
            self._next += self._stride

    def _add(
        self,
        tokens: torch.Tensor,
        sums: FloatArray,
        weights: FloatArray,
        start: int,
        length: int,
    ) -> None:
        rows = slice(start - self._first, start - self._first + length)
        indices = self._times.indices[rows]
        logits = classify_windows(self._model, tokens[None, rows], indices[None])
        scores = probabilities(logits, self._model.config.head.multi_label)[0]
        ramp = triangular_weights(length)
        sums[rows] += ramp[:, None] * scores
        weights[rows] += ramp

    def _forget(self, count: int) -> None:
        """Drop and return the first tokens that no later window contains."""
        self._tokens = self._tokens[count:].clone()
        self._times = self._times[count:]
        self._sums, self._weights = self._sums[count:].copy(), self._weights[count:].copy()
        self._first += count

    def pending(self) -> Scored:
        tokens = torch.cat((self._tokens, self._embedding.rest()))
        count = len(tokens)
        if not count:
            return np.empty((0, len(self.labels)), np.float32), TokenTimes.empty()
        sums, weights, following = self._sums.copy(), self._weights.copy(), self._next
        stop = self._first + count
        if stop < self._window:
            self._add(tokens, sums, weights, 0, stop)
        else:
            self._slide(tokens, sums, weights, stop)
            self._next = following
            last = stop - self._window
            if last % self._stride:
                self._add(tokens, sums, weights, last, self._window)
        return sums / weights[:, None], self._times
