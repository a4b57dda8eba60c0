"""Commands on ViViTs."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Outcome, frames
from tests.models.vivit.test_hf import LABELS, preprocessor, their_model
from vtnstream.video.write import write_video

Run = Callable[..., Outcome]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small ViViTs whose clips are 1.6 s of the video."""
    import torch

    from tests.models.vivit.cases import stir, vivit_config
    from vtnstream.config import SamplingConfig
    from vtnstream.models.io.checkpoint import save_model
    from vtnstream.models.vivit.model import ViViT

    made = {}
    for form in ("joint", "factorised-encoder"):
        torch.manual_seed(0)
        sampling = {"frame_rate": Fraction(10), "sampling": SamplingConfig(fps=Fraction(5, 2))}
        model = ViViT(vivit_config(form, **sampling))
        stir(model, 0.3)
        made[form] = save_model(model, tmp_path_factory.mktemp("models") / form)
    return made


def document(outcome: Outcome) -> Any:
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def test_classify_and_timeline(run: Run, video: Path, folders: dict[str, Path]) -> None:
    for form, folder in folders.items():
        classes = document(run("classify", video, "-m", folder, "--json"))
        cut = document(run("timeline", video, "-m", folder, "--json"))
        assert classes["classes"] == cut["classes"] and cut["run"]["frames_decoded"] == 0
        assert cut["run"]["clips"] == 49 and cut["run"]["clip_tokens"] == 4
        assert cut["run"]["class_from"] == "the mean of the clips' logits"
        assert cut["sampling"]["frames"] == 2 and cut["sampling"]["step"] == "1/5"
        assert cut["segments"][0]["start"] == 0
        assert cut["segments"][-1]["end"] == 39.9  # where the last token's last frame ends
        assert cut["model"]["architecture"] == "vivit"
        shown = run("classify", video, "-m", folder)
        assert "100 tokens at 2.5 times 2 frames/s" in shown.out and "49 clips" in shown.out
        whole = run("classify", video, "-m", folder, "--whole", "--json")
        if form == "joint":
            assert whole.code == 2 and "leave --whole out" in whole.errors[0]
        else:
            assert document(whole)["run"]["class_from"] == "one pass over the whole video"


def test_extract_and_plan(run: Run, video: Path, folders: dict[str, Path]) -> None:
    encoder, joint = folders["factorised-encoder"], folders["joint"]
    assert run("extract", video, "-m", encoder, "-o", "f.safetensors").code == 0
    stored = document(
        run("classify", video, "-m", encoder, "--features", "f.safetensors", "--json")
    )
    plain = document(run("classify", video, "-m", encoder, "--json"))
    assert stored["classes"] == plain["classes"]
    outcome = run("extract", video, "-m", joint, "-o", "g.safetensors")
    assert outcome.code == 2 and "reads clips" in outcome.errors[0]
    assert not Path("g.safetensors").exists()
    for folder in folders.values():
        assert document(run("plan", video, "-m", folder, "--json"))["tokens"] == 100


def test_commands_that_need_a_vtn_say_so(run: Run, video: Path, folders: dict[str, Path]) -> None:
    joint = folders["joint"]
    for command in (["attention", video, "-m", joint], ["summarize", video, "-m", joint]):
        outcome = run(*command)
        assert outcome.code == 2 and "works with a vtn" in outcome.errors[0]
    outcome = run("classify", video, "-m", joint, "--fps", "5")
    assert outcome.code == 2 and "5 samples/s are too many" in outcome.errors[0]


def test_views(run: Run, video: Path, folders: dict[str, Path]) -> None:
    for folder in folders.values():
        said = document(run("classify", video, "-m", folder, "--views", "3x1", "--json"))
        assert said["run"]["num_views"] == 3


def test_folders_of_transformers_are_imported(run: Run, home: Path) -> None:
    theirs = home / "theirs"
    their_model().save_pretrained(theirs)
    preprocessor().save_pretrained(theirs)
    outcome = run("models", "import", theirs, "-o", "ours")
    assert (outcome.code, outcome.out) == (0, "ours\n"), outcome.err
    shown = json.loads(run("models", "show", "ours", "--json").out)
    assert shown["config"]["name"] == "ours" and shown["config"]["vivit"]["form"] == "joint"
    video = home / "film.mp4"
    write_video(video, frames(3), Fraction(10))
    read = document(run("classify", video, "-m", theirs, "--json"))
    assert {c["label"] for c in read["classes"]} == set(LABELS)
    assert document(run("classify", video, "-m", "ours", "--json"))["classes"] == read["classes"]
    other = json.loads(run("models", "show", theirs, "--json").out)
    assert other["parameters"] == shown["parameters"]
    outcome = run("models", "import", theirs, "-o", "ours")
    assert outcome.code == 2 and "has a model already" in outcome.errors[0]
    outcome = run("models", "import", theirs, "-o", "more", "--num-heads", "3")
    assert outcome.code == 2 and "leave --num-heads out" in outcome.errors[0]
    assert not Path("more").exists()


def test_presets_are_shown(run: Run) -> None:
    listed = run("models", "list").out
    assert "vivit-b-16x2-fe" in listed and "vivit-l-16x2-fe" in listed
    shown = run("models", "show", "vivit-b-16x2-fe").out
    assert "6.25 times 2 frames/s" in shown and "factorised-encoder" in shown
    assert "115.06 M" in shown and "2 x 16 x 16" in shown
    outcome = run("train", "labels.csv", "--preset", "vivit-b-16x2", "-o", "model")
    assert outcome.code == 2 and "set mode = end-to-end" in outcome.errors[0]
