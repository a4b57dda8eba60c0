"""No command replaces a file that it did not write, except with ``--overwrite``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Outcome

Run = Callable[..., Outcome]


@pytest.fixture
def holiday(video: Path) -> Path:
    shutil.copy(video, "holiday.mp4")
    return Path("holiday.mp4")


@pytest.mark.parametrize("name", ["holiday.mp4", "./holiday.mp4", "hard.mp4", "link.mp4"])
def test_summarize_never_renders_onto_its_source(
    run: Run, holiday: Path, model_folder: Path, name: str
) -> None:
    os.link(holiday, "hard.mp4")
    os.symlink(holiday, "link.mp4")
    before = holiday.read_bytes()
    for more in ([], ["--overwrite"]):
        arguments = ["summarize", holiday, "-m", model_folder, "--length", "8", "--render", name]
        outcome = run(*arguments, *more)
        assert outcome.code == 1 and "is the source itself" in outcome.errors[0]
    assert holiday.read_bytes() == before and os.path.islink("link.mp4")


def test_a_render_and_a_clip_keep_what_exists(run: Run, holiday: Path, model_folder: Path) -> None:
    arguments = ["summarize", holiday, "-m", model_folder, "--length", "12", "--piece", "4"]
    Path("trailer.mp4").write_text("precious")
    outcome = run(*arguments, "--render", "trailer.mp4")
    assert outcome.code == 1 and "trailer.mp4: exists already" in outcome.errors[0]
    assert Path("trailer.mp4").read_text() == "precious"
    assert run(*arguments, "--render", "trailer.mp4", "--overwrite").code == 0
    assert Path("trailer.mp4").stat().st_size > 1000

    assert run("timeline", holiday, "-m", model_folder, "-o", "r").code == 0
    assert run("clips", "r/holiday.mp4.json", "-o", "c").code == 0
    first, *others = sorted(Path("c").iterdir())
    first.write_text("precious")
    outcome = run("clips", "r/holiday.mp4.json", "-o", "c")
    assert outcome.code == 1 and f"{first}: exists already" in outcome.errors[0]
    assert first.read_text() == "precious"
    assert run("clips", "r/holiday.mp4.json", "-o", "c", "--overwrite").code == 0
    assert first.stat().st_size > 1000 and sorted(Path("c").iterdir()) == [first, *others]


def test_results_are_written_again_but_not_over_files_of_others(
    run: Run, holiday: Path, model_folder: Path
) -> None:
    arguments = ["timeline", holiday, "-m", model_folder, "-o", "out", "-f", "json,srt"]
    assert run(*arguments).code == 0
    assert run(*arguments).code == 0
    srt = Path("out/holiday.mp4.srt")
    srt.write_text(srt.read_text() + "\ncorrected by hand\n")
    outcome = run(*arguments)
    assert outcome.code == 1 and "holiday.mp4.srt: exists already" in outcome.errors[0]
    assert "corrected by hand" in srt.read_text()
    assert run(*arguments, "--overwrite").code == 0
    assert "corrected by hand" not in srt.read_text()

    Path("out/holiday.mp4.vtt").write_text("WEBVTT")
    outcome = run("export", "out/holiday.mp4.json", "-f", "vtt")
    assert outcome.code == 1 and Path("out/holiday.mp4.vtt").read_text() == "WEBVTT"
    assert run("export", "out/holiday.mp4.json", "-f", "vtt", "--overwrite").code == 0


def test_pictures_features_copies_and_logs(run: Run, holiday: Path, model_folder: Path) -> None:
    attention = ["attention", holiday, "-m", model_folder, "-o", "out"]
    assert run(*attention).code == 0 and run(*attention).code == 0
    Path("out/holiday.mp4.attention.png").write_text("precious")
    outcome = run(*attention)
    assert outcome.code == 1 and "attention.png: exists already" in outcome.errors[0]

    extract = ["extract", holiday, "-m", model_folder, "-o"]
    before = holiday.read_bytes()
    outcome = run(*extract, holiday)
    assert outcome.code == 2 and "features are written to" in outcome.errors[0]
    assert run(*extract, "a.safetensors").code == 0 and run(*extract, "a.safetensors").code == 0
    Path("a.safetensors").write_text("precious")
    assert run(*extract, "a.safetensors").code == 1
    assert run(*extract, "a.safetensors", "--overwrite").code == 0

    assert run("timeline", holiday, "-m", model_folder, "-o", "r").code == 0
    copy = ["export", "r/holiday.mp4.json", "--chapters-into", "copy.mp4"]
    assert run(*copy).code == 0
    assert "copy.mp4: exists already" in run(*copy).errors[0]
    assert run(*copy, "--overwrite").code == 0
    outcome = run("export", "r/holiday.mp4.json", "--chapters-into", holiday, "--overwrite")
    assert outcome.code == 1 and "is the source itself" in outcome.errors[0]

    outcome = run("show", "r/holiday.mp4.json", "--log-file", holiday)
    assert outcome.code == 1 and "was not written by vtnstream" in outcome.err
    assert holiday.read_bytes() == before
