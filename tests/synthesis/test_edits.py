"""Edited videos: their truth is what is in them."""

from __future__ import annotations

import csv
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vtnstream.config import SamplingConfig
from vtnstream.errors import UsageError
from vtnstream.synthesis import disturbances
from vtnstream.synthesis.disturbances import disturbed, stuttered
from vtnstream.synthesis.edits import (
    FPS,
    KINDS,
    LABELS,
    compose,
    is_new,
    is_other_view,
    make_edited_videos,
    resampled,
)
from vtnstream.synthesis.footage import Footage, KnownEdits, RealEdit, gather, uncut_stretches
from vtnstream.synthesis.shots import draw_near, draw_shot
from vtnstream.types import Fit
from vtnstream.video.source import open_video
from vtnstream.video.write import write_video


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two takes of moving blocks in different colours, one with a cut inside, and a photo."""
    from PIL import Image

    root = tmp_path_factory.mktemp("footage")
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        pictures = [random.integers(0, 255, (6, 9, 3), np.uint8) for _ in range(2)]
        frames = [
            np.roll(np.kron(pictures[k >= 40], np.ones((16, 16, 1), np.uint8)), k, axis=1)
            for k in range(80)
        ]
        write_video(root / f"{name}.mp4", frames, Fraction(25))
    photo = np.kron(random.integers(0, 255, (8, 12, 3), np.uint8), np.ones((20, 20, 1), np.uint8))
    Image.fromarray(photo).save(root / "photo.png")
    (root / "broken.mp4").write_bytes(b"no video")
    gather(sorted(root.iterdir()), root / "raw")
    return root / "raw"


def test_footage_is_cut_where_it_has_cuts(folder: Path) -> None:
    footage = Footage(folder)
    assert sorted(t.stop - t.start for t in footage.takes) == [1, 40, 40, 40, 40]
    assert len(footage.photos) == 1
    assert footage.read(footage.moving[0], 5, 9).shape == (4, 96, 144, 3)


def test_no_footage(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UsageError, match="no usable footage"):
        gather([tmp_path / "notes.txt"], tmp_path / "raw")


def test_unbroken_keeps_quick_motion() -> None:
    moving = np.stack([np.full((32, 32, 3), 6 * k, np.uint8) for k in range(20)])
    assert uncut_stretches(moving) == [(0, 20)]
    cut = np.concatenate((moving[:10], 255 - moving[:10]))
    assert uncut_stretches(cut) == [(0, 10), (10, 20)]


def test_truth_matches_the_pictures(folder: Path) -> None:
    """Black is black, a freeze stands still, a cut changes everything at once, a fade goes
    through one colour."""
    footage = Footage(folder)
    seen: dict[str, int] = {}
    for seed in range(40):
        video = compose(footage, np.random.default_rng(seed))
        frames = np.concatenate(video.frames).astype(np.int16)
        assert len(frames) == len(video.labels)
        seen[video.kind] = seen.get(video.kind, 0) + 1
        for segment in video.segments():
            first, stop = round(segment.start * FPS), round(segment.end * FPS)
            part = frames[first:stop]
            seen[segment.label] = seen.get(segment.label, 0) + 1
            if segment.label == "black":
                assert part.std() < 1
            elif segment.label == "freeze":
                assert not np.diff(part, axis=0).any()
            elif segment.label == "cut":
                assert stop - first == 1
                assert np.abs(frames[first] - frames[first - 1]).mean() > 4
            elif segment.label == "dissolve":
                steps = np.abs(np.diff(part, axis=0)).mean((1, 2, 3))
                assert np.median(steps) < 0.6 * np.abs(part[-1] - part[0]).mean() + 8
        if video.kind in ("continuous take", "still"):
            assert set(video.labels) == {"shot"}
        if video.kind == "slow transitions":
            assert set(video.labels) & {"dissolve", "fade", "wipe", "cut"}
    assert set(KINDS) <= set(seen)
    assert set(LABELS) <= set(seen)


def test_is_new_sees_through_a_change_of_grading() -> None:
    random = np.random.default_rng(0)
    one, other = random.integers(0, 255, (2, 64, 96, 3), np.uint8)
    assert is_new(one, other)
    assert not is_new(one, (one * 0.6).astype(np.uint8))


def test_written_videos_are_the_same_on_any_number_of_workers(folder: Path, tmp_path: Path) -> None:
    alone = make_edited_videos(tmp_path / "one", folder, 3, seed=5, workers=1)
    many = make_edited_videos(tmp_path / "two", folder, 3, seed=5, workers=2)
    for a, b in zip(alone, many, strict=True):
        assert a.path.read_bytes() == b.path.read_bytes()
        assert (a.kind, a.segments) == (b.kind, b.segments)
    with (tmp_path / "one" / "segments.csv").open() as file:
        rows = list(csv.DictReader(file))

    def fit(width: int, height: int) -> Fit:
        return Fit(32, 32, 0, 0, 32, 32)

    for video in alone:
        with open_video(video.path, SamplingConfig(kind="all"), fit=fit) as source:
            read = sum(len(chunk.times) for chunk in source.chunks())
            rate = source.info.average_rate
        assert rate is not None
        own = [row for row in rows if row["path"] == video.path.name]
        lengths = [float(row["end"]) - float(row["start"]) for row in own]
        assert sum(round(rate * length) for length in lengths) == read
    kinds = (tmp_path / "one" / "classes.csv").read_text().splitlines()
    assert kinds[0] == "path,label"
    assert len(kinds) == 4


def test_frame_rates_keep_the_cuts() -> None:
    """A cut whose frame is left out moves to the next one, and each frame twice has one cut."""
    labels = ["shot"] * 10
    labels[4] = "cut"
    frames = np.arange(10, dtype=np.uint8).repeat(12).reshape(10, 2, 2, 3)
    third, kept, rate = resampled(frames, labels, 3)
    assert third[:, 0, 0, 0].tolist() == [0, 3, 6, 9]
    assert (kept, rate) == (["shot", "shot", "cut", "shot"], Fraction(25, 3))
    twice, kept, rate = resampled(frames, labels, -1)
    assert len(twice) == 20
    assert (kept.count("cut"), kept.index("cut"), rate) == (1, 8, 50)
    mixed = ["shot", "shot", "dissolve", "dissolve", "shot", "shot"]
    assert resampled(frames[:6], mixed, 2)[1] == ["shot", "cut", "shot"]


def test_cuts_within_a_place(folder: Path) -> None:
    """A cut between two views of one take stands out from the motion around it."""
    footage = Footage(folder)
    random = np.random.default_rng(4)
    shot = draw_shot(footage, 20, random, photo=False)
    near = draw_near(footage, shot.origin, 20, random)
    assert near.origin.take == shot.origin.take
    assert near.origin != shot.origin
    still = np.repeat(shot.frames[:1], 10, axis=0)
    assert not is_other_view(still, still)
    assert is_other_view(still, np.where(still > 127, still - 100, still + 100))
    noise = np.random.default_rng(0).integers(0, 255, (20, 64, 96, 3)).astype(np.uint8)
    assert not is_other_view(noise[:10], noise[10:]), "no more than what goes on in the shot"


def test_disturbances_leave_one_shot() -> None:
    """Something happens, and frames before and after it are as they were."""
    frames = np.full((200, 64, 96, 3), 120, np.uint8)
    patch = np.random.default_rng(0).integers(0, 255, (96, 144, 3)).astype(np.uint8)
    changed = 0
    for seed in range(12):
        found = disturbed(frames, patch, np.random.default_rng(seed))
        assert found.shape == frames.shape
        changed += bool((found != frames).any())
    assert changed >= 9
    places = np.arange(100)
    held = stuttered(places, np.random.default_rng(1))
    assert (held <= places).all()
    assert (held != places).any()
    assert held[-1] >= 85, "it goes on where it would have been"


def test_known_edits_decide_where_footage_is_divided(folder: Path) -> None:
    """Truth is taken over judging by how much frames differ; uncertain stretches are left out."""
    source = folder.parent / "a.mp4"
    whole = gather([source], folder.parent / "whole", known={source: KnownEdits()})
    assert [(t.start, t.stop) for t in whole.takes] == [(0, 80)], "a take is never divided"
    assert not whole.edits
    known = KnownEdits(cuts=(30,), others=((56, 60),))
    edited = gather([source], folder.parent / "edited", known={source: known})
    assert [(t.start, t.stop) for t in edited.takes] == [(0, 30), (30, 56)]
    assert edited.edits == [RealEdit(0, 56, (30,))]


def test_stretches_of_real_edits_keep_their_cuts(folder: Path) -> None:
    source = folder.parent / "b.mp4"
    footage = gather([source], folder.parent / "real", known={source: KnownEdits(cuts=(40,))})
    found = 0
    for seed in range(60):
        video = compose(footage, np.random.default_rng(seed))
        frames = np.concatenate(video.frames)
        if len(frames) != 80 or video.labels.count("cut") != 1 or video.labels[40] != "cut":
            continue
        found += 1
        steps = np.abs(np.diff(frames.astype(np.int16), axis=0)).mean((1, 2, 3))
        assert steps.argmax() == 39
    assert found >= 3


@pytest.mark.parametrize("name", ["_banner", "_lens", "_quality"])
def test_abrupt_disturbances(name: str) -> None:
    """Each changes a shot at once, in a part of it, and stays within the range of pixels."""
    change = next(kind for kind in disturbances._KINDS if kind.__name__ == name)
    random = np.random.default_rng(3)
    frames = random.integers(0, 255, (1, 64, 96, 3)).repeat(60, 0).astype(np.float32)
    patch = random.integers(0, 255, (96, 144, 3)).astype(np.uint8)
    abrupt = 0
    for seed in range(12):
        found = change(frames.copy(), patch, np.random.default_rng(seed))
        assert found.shape == frames.shape
        assert np.isfinite(found).all()
        abrupt += bool(np.abs(np.diff(found, axis=0)).mean((1, 2, 3)).max() > 2)
    assert abrupt >= 8
