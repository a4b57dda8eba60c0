"""The model card: contents, escaped markup, and training results."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.models.small import CONFIG, small_vtn
from vtnstream.cli.main import main
from vtnstream.config import HeadConfig
from vtnstream.errors import ModelError
from vtnstream.models.create import create_model
from vtnstream.models.io.card import model_card
from vtnstream.models.io.checkpoint import save_model

RESULT = {
    "task": "dense",
    "num_train": 240,
    "num_validation": 60,
    "split": "videos of /home/somebody/secret",
    "best": {"epoch": 7, "loss": 0.1234, "validation": {"accuracy": 98.7}},
}
TRAINING = {"schema": 1, "config": {"annotations": "/home/somebody/a.csv"}, "result": RESULT}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_model(small_vtn(), tmp_path / "model")


def test_config_labels_and_use(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "card", str(folder), "--license", "cc-by-4.0"]) == 0
    card = capsys.readouterr().out
    metadata = yaml.safe_load(card.split("---")[1])
    assert metadata["license"] == "cc-by-4.0" and metadata["library_name"] == "vtnstream"
    for part in ("test\\_vit", "2 frames/s", "cat, dog, owl", "background, jump", "2 layers"):
        assert part in card
    assert "vtnstream timeline VIDEO --model FOLDER" in card and "## Training" not in card
    assert "Not stated." in model_card(folder) and "license:" not in model_card(folder)
    assert "--model org/x" in model_card(folder, hub_name="org/x")


def test_training_results_without_local_paths(folder: Path) -> None:
    (folder / "train.json").write_text(json.dumps(TRAINING))
    card = model_card(folder)
    for part in ("| loss | 0.1234 |", "| validation accuracy | 98.7 |", "240 samples"):
        assert part in card
    assert "somebody" not in card


def test_an_existing_card_is_kept(folder: Path) -> None:
    (folder / "README.md").write_text("")  # as a shell leaves it for `card > README.md`
    assert "Video Transformer Network" in model_card(folder)
    (folder / "README.md").write_text("# mine\n")
    assert model_card(folder) == "# mine\n"


def test_markup_in_names_is_escaped(tmp_path: Path) -> None:
    evil = "a | b\n# heading <script>![x](y)"
    head = HeadConfig(labels=(evil, "b"))
    folder = save_model(create_model(replace(CONFIG, name=evil, head=head)), tmp_path / "m")
    card = model_card(folder)
    assert "\n# heading" not in card and "<script>" not in card.replace("\\<", "")
    assert card.count("# a \\| b \\# heading") == 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "train.json").write_text("{"), "train.json: not a training record"),
        (
            lambda f: (f / "train.json").write_text('{"result": 3}'),
            "train.json: not a training record",
        ),
        (
            lambda f: (f / "train.json").write_text("[" * 100_000),
            "train.json: not a training record",
        ),
        (lambda f: (f / "README.md").write_bytes(b"\xff\xfe"), "README.md: cannot be read"),
        (lambda f: (f / "config.json").unlink(), "not a model folder"),
    ],
)
def test_unreadable_records(folder: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(folder)
    with pytest.raises(ModelError, match=message) as caught:
        model_card(folder)
    assert "\n" not in str(caught.value)
