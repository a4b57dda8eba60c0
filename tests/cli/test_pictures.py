"""Thumbnails of a search in the terminal: made from the video, only where they can be shown."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console as Screen

from tests.cli.conftest import Outcome
from tests.search.scenes import write_scenes, write_still
from vtnstream.cli.framework.console import Console
from vtnstream.cli.pictures import illustrated
from vtnstream.report.reading import report_from_json

Run = Callable[..., Outcome]


def screen(*, terminal: bool) -> Screen:
    return Screen(
        file=io.StringIO(),
        width=80,
        force_terminal=terminal,
        color_system="truecolor",
        legacy_windows=False,
        _environ={"TERM": "xterm-256color"},
    )


def test_a_search_has_thumbnails_in_a_terminal(
    run: Run, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TMUX", "KITTY_WINDOW_ID", "TERM_PROGRAM", "LC_TERMINAL"):
        monkeypatch.delenv(name, raising=False)
    video = write_scenes(tmp_path / "scenes.mp4")
    still = write_still(tmp_path / "two.png", 2)
    found = run("search", "--like", still, video, "-m", model_folder, "--json", "-q")
    assert found.code == 0, found.err
    stored = tmp_path / "found.json"
    stored.write_text(found.out, "utf-8")
    report = report_from_json(found.out, where="found.json")
    console = Console()
    shown = illustrated(report, screen(terminal=True), console, wanted=None)
    assert len(shown.thumbnails) == len(report.segments or ()) and all(shown.thumbnails)
    segments = report.segments or ()
    assert all(
        one is not None and segment.start <= one.seconds < segment.end
        for one, segment in zip(shown.thumbnails, segments, strict=True)
    )
    for wanted, terminal in ((False, True), (None, False)):
        assert illustrated(report, screen(terminal=terminal), console, wanted=wanted) is report

    piped = run("show", stored, "--thumbnails")
    assert piped.code == 0 and "▄" not in piped.out
    assert "no thumbnails: standard output shows neither images nor 24-bit colour" in piped.err
    timeline = json.loads(found.out)
    for segment in timeline["segments"]:
        segment.pop("rank")  # not of a search: only where they are asked for
    plain = report_from_json(json.dumps(timeline), where="timeline.json")
    assert illustrated(plain, screen(terminal=True), console, wanted=None) is plain
    assert any(illustrated(plain, screen(terminal=True), console, wanted=True).thumbnails)
