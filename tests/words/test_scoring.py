"""Scores of words and examples, against plain formulas."""

from __future__ import annotations

import numpy as np
import pytest

from vtnstream.types import Features, FloatArray, TokenTimes
from vtnstream.words import scoring
from vtnstream.words.scoring import score_examples, score_words
from vtnstream.words.vectors import LabelVectors, unit

SIZE = 24


def vectors(count: int, seed: int) -> FloatArray:
    return unit(np.random.default_rng(seed).normal(size=(count, SIZE)).astype(np.float32))


def sequence(values: FloatArray, gap_at: int | None = None) -> Features:
    indices = np.arange(len(values))
    if gap_at is not None:
        indices[gap_at:] += 5
    starts = indices.astype(np.float64)
    return Features(values, TokenTimes(indices, indices, starts, starts + 1))


def test_scores_of_words_are_standard_deviations_above_unrelated_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vtnstream.words.vectors.BLOCK_TOKENS", 16)
    monkeypatch.setattr(scoring, "_LABELS_AT_ONCE", 3)
    frames, texts, background = vectors(50, 0), vectors(8, 1), vectors(30, 2)
    frames[37] = texts[5]
    others = frames @ background.T
    plain = (frames @ texts.T - others.mean(1, keepdims=True)) / others.std(1, keepdims=True)
    found = score_words(sequence(frames), texts, background)
    floor = max(scoring.WORD_FLOOR, found.peaks.max() * 0)
    assert found.at.tolist() == plain.argmax(axis=0).tolist() and found.at[5] == 37
    for number, one in enumerate(found.evidence):
        assert one is not None
        difference = plain[:, number] - one.presence
        assert difference.min() >= floor - 1e-4
        np.testing.assert_allclose(difference, difference[0], atol=1e-4)  # one floor for all
        assert found.peaks[number] == pytest.approx(one.presence.max(), abs=1e-5)


def test_of_very_many_words_only_the_best_are_kept_and_are_equal() -> None:
    frames, texts, background = vectors(40, 0), vectors(300, 1), vectors(30, 2)
    every = score_words(sequence(frames), texts, background)
    kept = [number for number, one in enumerate(every.evidence) if one is not None]
    assert len(kept) == scoring.MOST_KEPT
    best = np.sort(np.argsort(-every.peaks, kind="stable")[: scoring.MOST_KEPT])
    assert kept == best.tolist()
    few = score_words(sequence(frames), texts[kept], background)
    for number, one in zip(kept, few.evidence, strict=True):
        many = every.evidence[number]
        assert many is not None and one is not None
        np.testing.assert_allclose(many.presence, one.presence, atol=1e-4)


def test_similarity_is_of_the_best_window_and_frame_over_the_floor() -> None:
    scene = unit(vectors(1, 3) + 0.15 * vectors(6, 4))
    frames = np.concatenate([vectors(20, 5), scene, vectors(14, 6)])
    example = unit(scene.mean(axis=0, keepdims=True))
    label = LabelVectors("scene", None, example, np.array([6.0]))
    found = score_examples(sequence(frames), [label])
    cosines = frames @ example[0]
    window = unit(frames[20:26].mean(axis=0, keepdims=True))[0] @ example[0]
    near = (frames[1:] * frames[:-1]).sum(1).mean()
    total = frames.sum(0, dtype=np.float64)
    far = (total @ total - 40) / (40 * 39)
    floor = scoring.Floor.between(40, float(near), float(far)).cosine
    assert found.similarity[0] == pytest.approx((window + cosines.max()) / 2 - floor / 2, abs=1e-4)
    other = LabelVectors("other", None, vectors(1, 77), np.array([6.0]))
    assert score_examples(sequence(frames), [other]).similarity[0] < found.similarity[0]


def test_the_window_of_a_similarity_crosses_no_gap() -> None:
    scene = np.repeat(vectors(1, 3), 6, axis=0)
    frames = np.concatenate([vectors(20, 5), scene, vectors(14, 6)])
    label = LabelVectors("scene", None, scene[:1], np.array([6.0]))
    whole = score_examples(sequence(frames), [label]).similarity[0]
    cut = score_examples(sequence(frames, gap_at=23), [label]).similarity[0]
    assert cut < whole - 0.02


def test_a_label_of_several_examples_is_as_similar_as_its_nearest() -> None:
    frames = vectors(30, 0)
    near, far = frames[12:13], vectors(1, 8)
    both = LabelVectors("both", None, np.concatenate([far, near]), np.zeros(2))
    alone = LabelVectors("alone", None, near)
    found = score_examples(sequence(frames), [both, alone])
    assert found.similarity[0] == found.similarity[1]
    assert (found.evidence[0].presence >= found.evidence[1].presence - 1e-4).all()
