"""Shot numbers, images, contact sheets and scores of each frame, from every command."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Outcome
from vtnstream.cli.framework.types import complete_formats
from vtnstream.video.write import write_video

Run = Callable[..., Outcome]
CUTS = (30, 55)
COUNT = 90
NAMES = [
    "shot-001_0-00-00.600.jpg",
    "shot-002_0-00-01.700.jpg",
    "shot-003_0-00-02.900.jpg",
]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shots of noise of different colours, 25 frames/s."""
    path = tmp_path_factory.mktemp("shots") / "three.mp4"
    random = np.random.default_rng(0)
    shots = []
    for number, (first, stop) in enumerate(pairwise((0, *CUTS, COUNT))):
        board = random.integers(40 * number, 40 * number + 120, (6, 10, 3), np.uint8)
        board[..., number] = 200
        picture = np.kron(board, np.ones((16, 16, 1), np.uint8))
        shots += [np.roll(picture, k, axis=1) for k in range(stop - first)]
    write_video(path, np.stack(shots), Fraction(25))
    return path


@pytest.fixture
def result(run: Run, video: Path) -> Path:
    """The result of the video, in ``results``."""
    formats = "json,csv,stats,images,contact-sheet"
    done = run("timeline", video, "-o", "results", "-f", formats)
    assert done.code == 0, done.err
    assert "wrote 3 images into results/three.mp4.images" in done.err
    assert "shot 3" in done.out
    return Path("results/three.mp4.json")


def test_results_of_a_timeline(run: Run, result: Path) -> None:
    segments = json.loads(result.read_text())["segments"]
    assert [(s["label"], s["shot"]) for s in segments] == [("shot", k) for k in (1, 2, 3)]
    rows = list(csv.DictReader(Path("results/three.mp4.csv").read_text().splitlines()))
    assert [row["shot"] for row in rows] == ["1", "2", "3"]
    assert sorted(os.listdir("results/three.mp4.images")) == NAMES
    stats = list(csv.DictReader(Path("results/three.mp4.stats.csv").read_text().splitlines()))
    assert len(stats) == COUNT
    confidence = [float(row["cut_confidence"]) for row in stats]
    assert {k for k in range(COUNT) if confidence[k] >= 0.6} == set(CUTS)
    assert run("export", result, "-f", "srt", "-o", "-").out.count("shot 2") == 1


def test_a_stored_result_has_images_but_no_scores(run: Run, video: Path, result: Path) -> None:
    done = run("export", result, "-f", "images,contact-sheet,stats", "-o", "later")
    assert done.code == 1
    assert "no stats" in done.err and "vtnstream timeline" in done.err
    assert sorted(os.listdir("later")) == ["three.mp4.contact-sheet.jpg", "three.mp4.images"]
    first = Path("results/three.mp4.images") / NAMES[0]
    assert (Path("later/three.mp4.images") / NAMES[0]).read_bytes() == first.read_bytes()
    code = (
        "import sys; from vtnstream.cli.main import main; "
        f"main(['export', {str(result)!r}, '-f', 'images', '-o', 'plain']); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    printed = run("export", result, "-f", "images", "-o", "-")
    assert printed.code == 2 and "-o DIR" in printed.err


def test_images_of_another_run_go_and_those_of_others_stay(
    run: Run, video: Path, result: Path
) -> None:
    again = ("timeline", video, "-o", "results", "-f", "images,stats")
    assert run(*again, "--min-duration", "1.1").code == 0
    assert len(os.listdir("results/three.mp4.images")) == 2
    mine = Path("results/three.mp4.images") / NAMES[0]
    mine.write_bytes(b"another picture")
    refused = run(*again)
    assert refused.code == 1 and "--overwrite" in refused.err
    assert mine.read_bytes() == b"another picture"
    assert run(*again, "--overwrite").code == 0
    assert sorted(os.listdir("results/three.mp4.images")) == NAMES


def test_split_writes_the_result_too(run: Run, video: Path) -> None:
    done = run("split", video, "-o", "shots", "--name", "{shot:03}", "-f", "json,images,stats")
    assert done.code == 0, done.err
    assert sorted(os.listdir("shots")) == [
        *("001.mp4", "002.mp4", "003.mp4"),
        *("three.mp4.images", "three.mp4.json", "three.mp4.stats.csv"),
    ]


def test_a_batch_knows_its_images(run: Run, video: Path) -> None:
    batch = ("batch", "timeline", video, "-o", "out", "-f", "images,stats,contact-sheet")
    assert run(*batch).code == 0
    assert sorted(os.listdir("out/three.mp4.images")) == NAMES
    line = json.loads(Path("out/status.jsonl").read_text())
    assert f"three.mp4.images/{NAMES[0]}" in line["outputs"]
    assert "1 of them in an earlier run" in run(*batch).err
    (Path("out/three.mp4.images") / NAMES[1]).unlink()
    assert run(*batch).code == 0
    assert sorted(os.listdir("out/three.mp4.images")) == NAMES


def test_names_of_formats_complete() -> None:
    found = complete_formats(None, None, "json,con")  # type: ignore[arg-type]
    assert [item.value for item in found] == ["json,contact-sheet"]


def test_classes_alone_have_no_scores_of_frames(run: Run, video: Path) -> None:
    done = run("classify", video, "-o", "out", "-f", "stats")
    assert done.code == 2 and "timeline" in done.err
