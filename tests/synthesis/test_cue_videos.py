"""Generated videos: the same whatever renders them, and true to their annotations."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from vtnstream.config import SamplingConfig
from vtnstream.datasets.annotations import read_annotations
from vtnstream.errors import ConfigError, OutputError
from vtnstream.synthesis.cue_videos import (
    CUE_SECONDS,
    LABELS,
    OPENING_SECONDS,
    CueVideoConfig,
    make_videos,
    plan_video,
    render,
    write_annotations,
)
from vtnstream.types import Fit
from vtnstream.video.source import open_video

SHORT = CueVideoConfig(seconds=20, min_phase=4, max_phase=8)


def digests(directory: Path) -> list[str]:
    return [hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(directory.glob("*.mp4"))]


def test_output_does_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    one = make_videos(tmp_path / "one", 3, seed=5, config=SHORT, workers=1)
    two = make_videos(tmp_path / "two", 3, seed=5, config=SHORT, workers=2)
    assert [video.plan for video in one] == [video.plan for video in two]
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert len(set(digests(tmp_path / "one"))) == 3
    make_videos(tmp_path / "other", 3, seed=6, config=SHORT, workers=1)
    assert not set(digests(tmp_path / "one")) & set(digests(tmp_path / "other"))


def test_cue_says_nothing_about_pictures_and_labels_follow_from_both() -> None:
    pairs: Counter[tuple[int, int]] = Counter()
    for seed in range(600):
        plan = plan_video((seed,), SHORT)
        pairs[plan.cue, plan.phases[0].pattern] += 1
        for phase, segment in zip(plan.phases, plan.segments(), strict=True):
            assert segment.label == LABELS[(phase.pattern + plan.cue) % 3]
            assert (segment.start, segment.end) == (phase.start, phase.end)
    expected = 600 / 9
    assert sum((count - expected) ** 2 / expected for count in pairs.values()) < 20.1  # p = .01
    assert len(pairs) == 9


def test_phases_fill_the_video_after_its_opening() -> None:
    for seed in range(50):
        plan = plan_video((seed,), SHORT)
        edges = [OPENING_SECONDS, *(phase.end for phase in plan.phases)]
        assert [phase.start for phase in plan.phases] == edges[:-1]
        assert edges[-1] == SHORT.seconds
        assert all(p.end - p.start >= SHORT.min_phase for p in plan.phases)
        assert 0 <= plan.cue_start <= OPENING_SECONDS - CUE_SECONDS
        neighbours = zip(plan.phases, plan.phases[1:], strict=False)
        assert all(a.pattern != b.pattern for a, b in neighbours)


def test_the_bar_is_shown_in_its_colour_for_two_seconds_and_never_again() -> None:
    for seed in range(6):
        plan = plan_video((seed,), SHORT)
        frames = np.stack(list(render(plan, SHORT)))
        assert frames.shape == (SHORT.seconds * SHORT.fps, 64, 64, 3)
        assert frames.dtype == np.uint8
        top = frames[:, :16].mean((1, 2))  # (T, 3)
        bar = (top.max(1) > 200) & (np.sort(top, 1)[:, 1] < 60)
        first = plan.cue_start * SHORT.fps
        assert np.flatnonzero(bar).tolist() == [*range(first, first + CUE_SECONDS * SHORT.fps)]
        assert (top[bar].argmax(1) == plan.cue).all()


def test_the_file_shows_the_video_at_its_times(tmp_path: Path) -> None:
    video = make_videos(tmp_path, 1, seed=2, config=SHORT, workers=1)[0]
    wanted = np.stack(list(render(video.plan, SHORT)))
    whole = Fit(64, 64, 0, 0, 64, 64)
    with open_video(video.path, SamplingConfig(kind="all"), fit=lambda w, h: whole) as source:
        chunks = list(source.chunks())
    frames = np.concatenate([chunk.frames for chunk in chunks])
    times = np.concatenate([chunk.times.start_seconds for chunk in chunks])
    np.testing.assert_allclose(times, np.arange(len(wanted)) / SHORT.fps, atol=1e-6)
    error = np.abs(frames.astype(int) - wanted.astype(int)).mean((1, 2, 3))
    swapped = np.abs(frames.astype(int) - np.roll(wanted, SHORT.fps * 5, 0).astype(int))
    assert error.max() < 12  # 4:2:0 chroma and quantisation
    assert swapped.mean() > 2 * error.mean()


def test_annotations_read_back_with_their_splits(tmp_path: Path) -> None:
    videos = make_videos(tmp_path / "videos", 2, seed=0, config=SHORT, workers=1)
    csv = write_annotations(tmp_path / "a.csv", videos, splits=["train", "test"])
    got = read_annotations(csv)
    assert got.has_segments
    assert [read.split for read in got.videos] == ["train", "test"]
    for read, video in zip(got.videos, videos, strict=True):
        assert read.path == video.path
        spans = [(float(a.start), float(a.end), a.label) for a in read.annotations]
        assert spans == [(s.start, s.end, s.label) for s in video.plan.segments()]


def test_impossible_videos_are_refused(tmp_path: Path) -> None:
    for wrong in ({"seconds": 8}, {"size": 33}, {"min_phase": 0}, {"noise": 200}):
        with pytest.raises(ConfigError):
            CueVideoConfig(**wrong)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        make_videos(tmp_path / "file", 1, workers=1)
