"""Vectors of labels through a model, and their scores on a video's features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vtnstream.config import RuntimeConfig
from vtnstream.errors import UsageError
from vtnstream.localization.peaks import Evidence
from vtnstream.progress import Progress
from vtnstream.search.examples import example_vector
from vtnstream.types import FeatureSequence, FloatArray, IndexArray
from vtnstream.words.background import BACKGROUND_WORDS
from vtnstream.words.queries import Label
from vtnstream.words.scoring import joined, score_examples, score_words
from vtnstream.words.vectors import LabelVectors, Project

if TYPE_CHECKING:
    from vtnstream.search.space import SearchSpace


@dataclass(frozen=True, slots=True, eq=False)
class QueryVectors:
    """Vectors of all labels of a query.

    Attributes:
        labels: one for each label, in its order.
        background: (B, E) unit vectors of unrelated words, None if no label has words.
    """

    labels: tuple[LabelVectors, ...]
    background: FloatArray | None


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Evidence for all labels of a question in one video.

    Attributes:
        evidence: one for each label; None where a label is one of very many and absent.
        peaks: (K,) float32 highest evidence of each label.
        at: (K,) index of the token where it is reached.
        similarity: (K,) of the video to each label's examples; NaN where a label has none.
    """

    evidence: tuple[Evidence | None, ...]
    peaks: FloatArray
    at: IndexArray
    similarity: FloatArray


def make_vectors(
    space: SearchSpace, labels: Sequence[Label], runtime: RuntimeConfig, progress: Progress
) -> QueryVectors:
    """Compute the vectors of labels: text by the text tower (or the cache), examples by the
    encoder.

    Raises:
        UsageError: a label has words, and the model has no text tower.
        VideoError: an example cannot be read.
    """
    worded = [label for label in labels if label.prompts]
    texts: dict[str, FloatArray] = {}
    background: FloatArray | None = None
    if worded:
        if space.words is None:
            raise UsageError(
                f"{space.about['name']} understands no words: search with --like, or name an "
                "image-text model with --model"
            )
        others = [Label(word, (word, word)) for word in BACKGROUND_WORDS]
        vectors = space.words.label_vectors(
            [*worded, *others], cache_dir=runtime.cache_dir, use_cache=runtime.use_cache
        )
        texts = dict(zip((label.name for label in worded), vectors, strict=False))
        background = np.stack(vectors[len(worded) :])
    made = []
    for label in labels:
        rows = [
            example_vector(example, space.encoder, space.sampling, space.project, runtime, progress)
            for example in label.examples
        ]
        examples = np.stack([r.vector for r in rows]) if rows else np.empty((0, 0), np.float32)
        seconds = np.array([row.seconds for row in rows])
        made.append(LabelVectors(label.name, texts.get(label.name), examples, seconds))
    return QueryVectors(tuple(made), background)


def score(
    features: FeatureSequence, vectors: QueryVectors, project: Project, smoothing_seconds: float
) -> Scored:
    """Compute the evidence of all labels: of words, of examples, or the mean of both.

    Raises:
        FeatureError: the vectors belong to another space than the features.
    """
    labels = vectors.labels
    count = len(labels)
    peaks, at = np.full(count, -np.inf, np.float32), np.zeros(count, np.int64)
    words: list[Evidence | None] = [None] * count
    examples: list[Evidence | None] = [None] * count
    worded = [number for number, label in enumerate(labels) if label.text is not None]
    if worded and vectors.background is not None:
        texts = np.stack([text for label in labels if (text := label.text) is not None])
        found = score_words(
            features, texts, vectors.background, project, smoothing_seconds=smoothing_seconds
        )
        peaks[worded], at[worded] = found.peaks, found.at
        for number, one in zip(worded, found.evidence, strict=True):
            words[number] = one
    shown = [number for number, label in enumerate(labels) if len(label.examples)]
    similarity = np.full(count, np.nan, np.float32)
    if shown:
        scored = score_examples(features, [labels[number] for number in shown], project)
        similarity[shown] = scored.similarity
        for number, one in zip(shown, scored.evidence, strict=True):
            examples[number] = one
    both = tuple(joined(w, e) for w, e in zip(words, examples, strict=True))
    for number, one in enumerate(both):
        if one is not None and len(one.presence):
            at[number] = int(one.presence.argmax())
            peaks[number] = one.presence[at[number]]
    return Scored(both, peaks, at, similarity)
