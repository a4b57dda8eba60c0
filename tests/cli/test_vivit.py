"""Commands on ViViTs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Outcome
from tests.models.test_vivit_hf import preprocessor, their_model

Run = Callable[..., Outcome]


def test_folders_of_transformers_are_imported(run: Run, home: Path) -> None:
    theirs = home / "theirs"
    their_model().save_pretrained(theirs)
    preprocessor().save_pretrained(theirs)
    outcome = run("models", "import", theirs, "-o", "ours")
    assert (outcome.code, outcome.out) == (0, "ours\n"), outcome.err
    shown = json.loads(run("models", "show", "ours", "--json").out)
    assert shown["config"]["name"] == "ours" and shown["config"]["vivit"]["form"] == "joint"
    other = json.loads(run("models", "show", theirs, "--json").out)
    assert other["parameters"] == shown["parameters"]
    outcome = run("models", "import", theirs, "-o", "ours")
    assert outcome.code == 2 and "holds a model already" in outcome.errors[0]
    outcome = run("models", "import", theirs, "-o", "more", "--num-heads", "3")
    assert outcome.code == 2 and "leave it out" in outcome.errors[0]
    assert not Path("more").exists()


def test_presets_are_shown(run: Run) -> None:
    listed = run("models", "list").out
    assert "vivit-b-16x2-fe" in listed and "vivit-l-16x2-fe" in listed
    shown = run("models", "show", "vivit-b-16x2-fe").out
    assert "factorised-encoder" in shown and "115.06 M" in shown and "2 x 16 x 16" in shown
    outcome = run("train", "labels.csv", "--preset", "vivit-b-16x2", "-o", "model")
    assert outcome.code == 2 and "is a vivit" in outcome.errors[0]
