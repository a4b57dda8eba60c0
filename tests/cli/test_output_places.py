"""Every command that writes refuses an unusable place before it decodes or fits anything."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Outcome

Run = Callable[..., Outcome]

_COMMANDS = {
    "timeline": ["timeline", "holiday.mp4", "-m", "MODEL", "-o", "PLACE"],
    "classify": ["classify", "holiday.mp4", "-m", "MODEL", "-o", "PLACE"],
    "attention": ["attention", "holiday.mp4", "-m", "MODEL", "-o", "PLACE"],
    "summarize": ["summarize", "holiday.mp4", "-m", "MODEL", "-o", "PLACE"],
    "render": ["summarize", "holiday.mp4", "-m", "MODEL", "--render", "PLACE/out.mp4"],
    "search": ["search", "--like", "holiday.mp4", "holiday.mp4", "-m", "MODEL", "-o", "PLACE"],
    "split": ["split", "holiday.mp4", "-m", "MODEL", "-o", "PLACE"],
    "extract": ["extract", "holiday.mp4", "-m", "MODEL", "-o", "PLACE/a.safetensors"],
    "extract several": ["extract", "holiday.mp4", "b.mp4", "-m", "MODEL", "-o", "PLACE"],
    "suggest": ["suggest", "holiday.mp4", "-m", "MODEL", "-o", "PLACE/a.csv"],
    "page": ["suggest", "holiday.mp4", "-m", "MODEL", "--page", "PLACE/a.html"],
    "train": ["train", "labels.csv", "--backbone", "test_vit", "-o", "PLACE"],
    "confusion": ["evaluate", "labels.csv", "-m", "MODEL", "--confusion", "PLACE/a.png"],
    "clips": ["clips", "result.json", "-o", "PLACE"],
    "joined": ["clips", "result.json", "--join", "-o", "PLACE/a.mp4"],
    "export": ["export", "result.json", "-f", "srt", "-o", "PLACE"],
    "chapters": ["export", "result.json", "--chapters-into", "PLACE/a.mkv"],
    "models export": ["models", "export", "MODEL", "-o", "PLACE"],
    "models import": ["models", "import", "weights.pyth", "-o", "PLACE"],
    "demo": ["demo", "-o", "PLACE"],
    "batch": ["batch", "timeline", "holiday.mp4", "-m", "MODEL", "-o", "PLACE"],
}


@pytest.mark.parametrize("command", _COMMANDS)
def test_a_place_below_a_file_is_refused_before_the_work(
    run: Run, video: Path, model_folder: Path, command: str
) -> None:
    shutil.copy(video, "holiday.mp4")
    shutil.copy(video, "b.mp4")
    Path("labels.csv").write_text("path,label\nholiday.mp4,calm\nb.mp4,wild\n")
    Path("result.json").write_text("no result")
    Path("weights.pyth").write_text("no weights")
    Path("text.mp4").write_text("a file")
    before = sorted(os.listdir())
    names = {"MODEL": str(model_folder), "PLACE": "text.mp4/out"}
    words = [names.get(word, word.replace("PLACE", names["PLACE"])) for word in _COMMANDS[command]]
    outcome = run(*words)
    assert outcome.code in (1, 2) and outcome.out == ""
    (line,) = outcome.err.splitlines()  # no warning, no progress: the work has not begun
    assert line.startswith("vtnstream: error: text.mp4/out")
    if command != "batch":
        assert line.endswith("cannot be made, because text.mp4 is a file; name another place")
    assert sorted(os.listdir()) == before


def test_a_file_in_place_of_a_folder_and_the_other_way_round(run: Run, video: Path) -> None:
    Path("text").write_text("a file")
    Path("folder").mkdir()
    outcome = run("timeline", video, "-o", "text")
    assert outcome.errors == ["vtnstream: error: text: is a file, not a folder; name another place"]
    outcome = run("suggest", video, "--model", "m", "--page", "folder")
    assert outcome.errors == [
        "vtnstream: error: folder: is a folder, not a file; name another place"
    ]


def test_a_file_of_the_user_is_noticed_before_the_analysis(
    run: Run, video: Path, model_folder: Path, home: Path
) -> None:
    name = video.name
    for command, file in (("timeline", f"{name}.json"), ("attention", f"{name}.attention.png")):
        Path("out").mkdir(exist_ok=True)
        Path("out", file).write_text("precious")
        outcome = run(command, video, "-m", model_folder, "-o", "out")
        assert outcome.code == 1 and f"out/{file}: exists already" in outcome.errors[0]
        assert not list(home.glob("cache/**/store.json"))  # no frame was decoded
        assert Path("out", file).read_text() == "precious"


def test_a_summary_is_not_rendered_into_a_file_that_is_no_video(
    run: Run, video: Path, model_folder: Path, home: Path
) -> None:
    outcome = run("summarize", video, "-m", model_folder, "--render", "out.txt")
    assert outcome.errors == [
        "vtnstream: error: out.txt: cuts are written to .mp4, .m4v, .mov, .mkv files"
    ]
    assert not list(home.glob("cache/**/store.json"))
