"""Score a video with a ViViT in sliding clips.

The logits of the clips give the timeline, their mean gives the class (as the views of the
paper). No clip crosses a gap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vtnstream.config import TimelineConfig
from vtnstream.errors import UsageError
from vtnstream.localization.runs import gap_free_runs
from vtnstream.localization.window_scores import SlidingScores, window_starts
from vtnstream.models.vivit.model import ViViT
from vtnstream.models.vivit.sequence import ClipSpan, encode_clips
from vtnstream.scoring.probabilities import class_probabilities
from vtnstream.types import FeatureSequence, FloatArray, TokenTimes


@dataclass(frozen=True, slots=True)
class ClipLayout:
    """Length of a clip in tokens (``size``) and distance of clip starts (``hop``)."""

    size: int
    hop: int

    def spans(self, times: TokenTimes) -> list[list[ClipSpan]]:
        """Return the clips of each gap-free stretch of tokens; a stretch shorter than a clip is
        one clip."""
        clips = []
        for run in gap_free_runs(times):
            count = run.stop - run.start
            size = min(self.size, count)
            starts = window_starts(count, size, min(self.hop, size))
            first = [run.start + start for start in starts]
            clips.append([ClipSpan(start, start + size) for start in first])
        return clips


def clip_layout(model: ViViT, options: TimelineConfig | None = None) -> ClipLayout:
    """Return clips of the model's length that overlap by half, unless options say otherwise.

    Raises:
        UsageError: the model cannot read clips of this length, or tokens would lie between clips.
    """
    size = model.vivit.clip_tokens
    window, stride = (None, None) if options is None else (options.window, options.stride)
    if window is not None and window != size and not model.vivit.reads_sequences:
        raise UsageError(
            f"model {model.config.name} reads only clips of {size} tokens: leave --window out"
        )
    size = window or size
    if stride is not None and stride > size:
        raise UsageError(f"stride {stride} is larger than the clip of {size} tokens")
    return ClipLayout(size, stride or max(1, size // 2))


@dataclass(frozen=True, slots=True, eq=False)
class ClipScores:
    """Scores of the sliding clips of one video.

    Attributes:
        logits: (K,) float32, the mean over all clips.
        probabilities: (N, K) float32 per token, the mean over the clips that contain it with
            triangular weights; None if not requested.
        num_clips: number of clips.
    """

    logits: FloatArray
    probabilities: FloatArray | None
    num_clips: int


def score_clips(
    model: ViViT, features: FeatureSequence, layout: ClipLayout, *, timeline: bool
) -> ClipScores:
    """Run every clip of a video through the model.

    Args:
        model: in evaluation mode, with a class head.
        features: of its encoder; read once.
        layout: positions of the clips; for forms that encode whole clips, those that were encoded.
        timeline: whether to compute scores per token.
    """
    stretches = layout.spans(features.times)
    clips = [clip for stretch in stretches for clip in stretch]
    head = model.config.head
    labels = len(head.labels)
    total = np.zeros(labels, np.float64)
    tables: list[FloatArray] = []
    logits = encode_clips(model, features, clips)
    for stretch in stretches:
        first, stop = stretch[0].first, stretch[-1].stop
        scores = SlidingScores(stop - first, labels, stretch[0].stop - first) if timeline else None
        for clip in stretch:
            row = next(logits)
            total += row
            if scores is not None:
                scores.add(clip.first - first, class_probabilities(row[None], head)[0])
        if scores is not None:
            tables.append(scores.result())
    mean = (total / len(clips)).astype(np.float32)
    return ClipScores(mean, np.concatenate(tables) if timeline else None, len(clips))
