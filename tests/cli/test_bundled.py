"""The bundled model, used without ``--model``: shots of a video, and its kind."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import vtnstream
from tests.cli.conftest import Outcome
from tests.synth import SyntheticVideo
from vtnstream.config.shipped import BUNDLED_MODEL, BUNDLED_SAYS, bundled_model
from vtnstream.models.io.checkpoint import read_config
from vtnstream.video.write import write_video

Run = Callable[..., Outcome]
CUTS = (40, 75, 120)
KINDS = {"continuous take", "cut", "slideshow", "slow transitions", "still"}


def _shot(seed: int, count: int) -> np.ndarray:
    """Draw smooth blobs that drift: (count, 96, 160, 3)."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:96, 0:160].astype(np.float32)
    frames = np.empty((count, 96, 160, 3), np.float32)
    frames[:] = random.uniform(20, 235, 3)
    for _ in range(9):
        centre, drift = random.uniform(0, 160, 2), random.uniform(-1.2, 1.2, 2)
        size, color = random.uniform(8, 40), random.uniform(-150, 150, 3)
        for k in range(count):
            far = ((x - centre[0] - k * drift[0]) ** 2 + (y - centre[1] - k * drift[1]) ** 2) / 2
            frames[k] += np.exp(-far / size**2)[..., None] * color
    return frames.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four shots with cuts between them, 25 frames/s."""
    path = tmp_path_factory.mktemp("films") / "four shots.mp4"
    edges = (0, *CUTS, 160)
    shots = [_shot(seed, b - a) for seed, (a, b) in enumerate(pairwise(edges))]
    write_video(path, np.concatenate(shots), Fraction(25))
    return path


def test_shots_of_a_video_without_naming_a_model(run: Run, video: Path) -> None:
    done = run("timeline", video, "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    starts = [round(s["start"] * 25) for s in report["segments"]]
    assert starts == [0, *CUTS]
    assert {s["label"] for s in report["segments"]} == {"shot"}
    assert report["segments"][-1]["end"] == pytest.approx(160 / 25)
    assert report["classes"][0]["label"] == "cut"
    assert report["model"]["source"] == BUNDLED_MODEL
    assert "vtnstream train" in report["model"]["says"]
    assert "vtnstream train" in done.err, "says how to get classes of one's own"


def test_kinds_of_videos(run: Run, video: Path, tmp_path: Path) -> None:
    take, still = tmp_path / "take.mp4", tmp_path / "still.mp4"
    write_video(take, _shot(5, 120), Fraction(25))
    write_video(still, np.repeat(_shot(6, 1), 120, axis=0), Fraction(25))
    for path, kind in ((video, "cut"), (take, "continuous take"), (still, "still")):
        classes = json.loads(run("classify", path, "--json").out)["classes"]
        assert {c["label"] for c in classes} == KINDS
        assert classes[0]["label"] == kind, path.name


def test_the_same_by_name_and_from_python(run: Run, video: Path) -> None:
    segments = json.loads(run("timeline", video, "--json").out)["segments"]
    named = json.loads(run("timeline", video, "--model", BUNDLED_MODEL, "--json").out)
    assert named["segments"] == segments
    report = vtnstream.timeline(video)
    assert report.segments is not None
    assert [s.start for s in report.segments] == [s["start"] for s in segments]


def test_a_folder_of_that_name_does_not_stand_in(run: Run, video: Path) -> None:
    Path(BUNDLED_MODEL).mkdir()
    assert run("classify", video).code == 0
    assert run("classify", video, "--model", BUNDLED_MODEL).code == 2


def test_batch_attention_and_summary(run: Run, video: Path) -> None:
    assert run("batch", "timeline", video, "-o", "out", "-f", "csv").code == 0
    rows = next(Path("out").glob("*.csv")).read_text().splitlines()
    assert len(rows) == 1 + 4
    assert run("attention", video).code == 0
    assert run("summarize", video, "--length", "2s").code == 0


def test_what_is_shipped(run: Run) -> None:
    folder = bundled_model()
    assert sum(file.stat().st_size for file in folder.iterdir()) < 8e6
    card = (folder / "README.md").read_text()
    for word in ("trained on", "cannot", "Licence"):
        assert word in card
    assert read_config(folder).name == BUNDLED_MODEL
    assert "bundled" in run("models", "list").out


@pytest.mark.parametrize(
    "option",
    ["--smoothing=median", "--viterbi=3", "--onset=0.6", "--merge-gap=1", "--nms=hard"],
)
def test_options_without_a_meaning_are_refused(run: Run, video: Path, option: str) -> None:
    done = run("timeline", video, option)
    assert done.code == 2
    assert option.split("=")[0] in done.err
    assert "--sensitivity" in done.err


def test_windows_say_how_they_are_edited(run: Run, video: Path) -> None:
    """Every window with a cut is classified as cut, as is the whole video; none as a slideshow."""
    done = run("timeline", video, "--window", "64", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    sliding = [s for s in report["segments"] if s["track"] == "editing style"]
    assert {s["label"] for s in sliding} <= {"cut", "continuous take"}
    dense = [round(s["start"] * 25) for s in report["segments"] if s["track"] == "shots"]
    assert dense == [0, *CUTS]


def test_minimum_length_of_shots(run: Run, video: Path) -> None:
    done = run("timeline", video, "--min-duration", "1.5", "--json")
    assert done.code == 0, done.err
    shots = json.loads(done.out)["segments"]
    assert all(s["end"] - s["start"] >= 1.5 for s in shots)
    assert {round(s["start"] * 25) for s in shots} <= {0, *CUTS}


def test_counts_are_the_first_facts(run: Run, video: Path) -> None:
    done = run("timeline", video)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[1].startswith("4 shots")
    assert "3 cuts" in lines[1]
    assert "0 transitions" in lines[1]


def test_frame_rates_outside_of_the_measured_ones_are_told(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "slow.mp4"
    write_video(path, _shot(1, 12), Fraction(2))
    done = run("classify", path, "--json")
    assert done.code == 0, done.err
    assert "2 frames/s" in json.loads(done.out)["warnings"][0]


def test_black_bars_are_cropped_and_told(run: Run, video: Path, tmp_path: Path) -> None:
    """The same shots between bars at the sides; a second run, of stored features, says so too."""
    path = tmp_path / "vertical.mp4"
    edges = (0, *CUTS, 160)
    shots = np.concatenate([_shot(seed, b - a) for seed, (a, b) in enumerate(pairwise(edges))])
    barred = np.pad(shots, ((0, 0), (0, 0), (120, 120), (0, 0)))
    write_video(path, barred, Fraction(25))
    for from_store in (False, True):
        done = run("timeline", path, "--json", "--cache-dir", tmp_path / "cache")
        assert done.code == 0, done.err
        report = json.loads(done.out)
        assert report["run"]["from_store"] is from_store
        assert report["run"]["bars"] == pytest.approx([0.3, 0, 0.3, 0], abs=0.01)
        assert [round(s["start"] * 25) for s in report["segments"]] == [0, *CUTS]
    told = re.search(r" bars cropped: (\d+) % of the width", run("timeline", path).out)
    assert told is not None
    assert abs(int(told[1]) - 60) <= 1
    assert "bars" not in json.loads(run("timeline", video, "--json").out)["run"]


def test_a_stream_says_what_it_lacks(run: Run, tmp_path: Path) -> None:
    """Windows of a stream are judged by the network alone; that is told once, and in JSON."""
    video = SyntheticVideo(count=120, rate=25, size=(64, 64), gop=10)
    video.format = "matroska"
    path = video.write(tmp_path / "stream.mkv")
    done = run("timeline", "--follow", path, "--follow-timeout", "1s", "--window", "32")
    assert done.code == 0, done.err
    assert done.err.count("network alone") == 1
    last = json.loads(done.out.splitlines()[-1])
    assert any("vtnstream timeline" in warning for warning in last["warnings"])


def test_the_error_of_an_input_comes_alone(run: Run, video: Path) -> None:
    for command in (["timeline"], ["classify"], ["split", "-o", "shots"]):
        failed = run(*command, "absent.mp4")
        assert failed.code == 1 and failed.err.splitlines() == failed.errors
        done = run(*command, video)
        assert done.code == 0 and done.err.count(BUNDLED_SAYS) == 1
