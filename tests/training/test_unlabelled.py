"""The use of spans without an annotation."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from vtnstream.config import DataConfig
from vtnstream.datasets.lines import AnnotatedVideo, Annotation
from vtnstream.errors import ConfigError
from vtnstream.models.vtn.model import VTNOutput
from vtnstream.training.data.batches import Crop, assemble
from vtnstream.training.data.features import VideoFeatures
from vtnstream.training.data.targets import IGNORE, dense_samples
from vtnstream.training.losses import head_loss
from vtnstream.training.unlabelled import resolve_unlabelled

from .cases import features


def labelled(seconds: int, *spans: tuple[float, float, str]) -> VideoFeatures:
    lines = tuple(
        Annotation(label, Fraction(start), Fraction(end), line)
        for line, (start, end, label) in enumerate(spans, 2)
    )
    return VideoFeatures(AnnotatedVideo(Path("a.mp4"), lines), features(2 * seconds))


def auto(*videos: VideoFeatures) -> tuple[str, str]:
    labels = sorted({a.label for v in videos for a in v.video.annotations})
    found = resolve_unlabelled("auto", videos, labels)
    return found.choice, found.why


def test_gaps_of_seconds_between_segments_are_ignored() -> None:
    spans = [(10.0 * i, 10.0 * i + 8, "ab"[i % 2]) for i in range(10)]
    choice, why = auto(labelled(100, *spans))
    assert choice == "ignore"
    assert "80% of the videos is labelled, 10 gaps of usually 2.0 s" in why


def test_a_gap_of_a_frame_is_no_gap_of_zero_seconds() -> None:
    _, why = auto(labelled(10, (0.0, 5.0, "a"), (5.033, 10.0, "b")))
    assert "1 gap of usually less than 0.1 s" in why


def test_sparse_events_give_background() -> None:
    spans = [(60.0 * i, 60.0 * i + 5, "ab"[i % 2]) for i in range(10)]
    choice, why = auto(labelled(600, *spans))
    assert choice == "background"
    assert "8% of the videos is labelled" in why and "sparse" in why


def test_long_gaps_give_background() -> None:
    choice, why = auto(labelled(1000, (0, 400, "first half"), (500, 1000, "second half")))
    assert choice == "background"
    assert "long gaps" in why


def test_a_single_label_gives_background() -> None:
    assert auto(labelled(20, (0, 18, "a")))[0] == "background"


def test_annotated_background_leaves_gaps_ignored() -> None:
    video = labelled(100, (0, 5, "a"), (5, 9, "background"), (60, 65, "b"))
    assert auto(video)[0] == "ignore"


def test_an_explicit_choice_is_used() -> None:
    video = labelled(100, (0, 5, "a"), (60, 65, "b"))
    assert resolve_unlabelled("ignore", [video], ["a", "b"]).choice == "ignore"
    assert resolve_unlabelled("background", [video], ["a", "b"]).is_background
    with pytest.raises(ConfigError, match="unlabelled"):
        DataConfig(unlabelled="sometimes")


def test_ignored_tokens_do_not_change_the_loss() -> None:
    video = labelled(10, (0, 3, "a"), (5, 8, "b"))
    (sample,), _ = dense_samples([video], ["a", "b"], None)
    assert sample.targets is not None
    assert np.array_equal(
        sample.targets == IGNORE, [False] * 6 + [True] * 4 + [False] * 6 + [True] * 4
    )
    whole = Crop(sample, 0, len(sample))
    batch = assemble([whole], [torch.zeros(len(sample), 1)], clip_positions=False)
    logits = torch.randn(1, len(sample), 2, generator=torch.Generator().manual_seed(0))
    loss = head_loss(VTNOutput(None, logits), batch)
    logits[0, 6:10] += 100.0
    assert torch.equal(loss, head_loss(VTNOutput(None, logits), batch))


def test_a_crop_without_labels_has_zero_loss() -> None:
    video = labelled(10, (0, 3, "a"), (8, 10, "b"))
    (sample,), _ = dense_samples([video], ["a", "b"], None)
    crop = Crop(sample, 7, 15)
    batch = assemble([crop], [torch.zeros(8, 1)], clip_positions=False)
    logits = torch.randn(1, 8, 2, requires_grad=True)
    loss = head_loss(VTNOutput(None, logits), batch)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0.0
    assert logits.grad is not None and not logits.grad.any()
