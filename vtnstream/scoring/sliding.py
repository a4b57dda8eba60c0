"""Classify sliding windows, separately or during the pass over the whole sequence."""

from __future__ import annotations

from vtnstream.config import TimelineConfig
from vtnstream.localization.window_scores import SlidingScores, window_starts
from vtnstream.models.long_sequence.shared_windows import SharedWindows
from vtnstream.models.long_sequence.windows import encode_windows
from vtnstream.models.vtn.model import VTN
from vtnstream.scoring.probabilities import class_probabilities
from vtnstream.types import FeatureSequence, FloatArray


class SlidingWindows:
    """The sliding windows of one sequence; they give scores per token.

    Args:
        model: with a class head.
        features: the whole sequence.
        options: length and stride of the windows.
    """

    def __init__(self, model: VTN, features: FeatureSequence, options: TimelineConfig) -> None:
        count = len(features.times)
        self._model, self._features = model, features
        self._window = min(options.num_window_tokens, count)
        self._starts = window_starts(
            count, self._window, min(options.num_stride_tokens, self._window)
        )
        self._scores = SlidingScores(count, len(model.config.head.labels), self._window)

    def follower(self) -> SharedWindows | None:
        """Return the classifier that shares the first layer with the pass over the whole
        sequence; None if sharing saves nothing."""
        count = len(self._features.times)
        if not SharedWindows.supports(self._model, count, self._window):
            return None
        indices = self._features.times.indices
        return SharedWindows(self._model, indices, self._starts, self._window, self._add)

    def read(self) -> None:
        """Classify the windows separately."""
        features, starts, window = self._features, self._starts, self._window
        for start, logits in encode_windows(self._model, features, starts=starts, window=window):
            self._add(start, logits)

    def _add(self, start: int, logits: FloatArray) -> None:
        self._scores.add(start, class_probabilities(logits[None], self._model.config.head)[0])

    def result(self) -> FloatArray:
        """Return (N, K) probabilities after all windows were classified. May be called once."""
        return self._scores.result()
