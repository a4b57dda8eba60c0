"""``vtnstream search`` in words, with a tiny image-text model.

Its text vectors are chosen: that of a word is the vector of the frames that show it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.conftest import Outcome
from tests.search.scenes import SCENE_SECONDS, scene, write_scenes, write_still
from tests.words.towers import SIDE, write_model
from vtnstream.words.background import BACKGROUND_WORDS
from vtnstream.words.cache import TextVectorCache
from vtnstream.words.model import open_words
from vtnstream.words.prompts import prompts_of
from vtnstream.words.queries import parse_label
from vtnstream.words.vectors import unit

Run = Callable[..., Outcome]
SHOWN = {"the red corner": 0, "a goal": 2}
OPTIONS = ("--fps", "2", "--smooth", "0", "-q")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes") / "scenes.mp4")


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("towers") / "siglip2", "siglip2")


@pytest.fixture(scope="module")
def cache_folder(towers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the text vectors of the words that are shown, of absent and unrelated ones."""
    folder = tmp_path_factory.mktemp("planted")
    plant(towers, folder)
    return folder


@pytest.fixture(autouse=True)
def cache(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTNSTREAM_CACHE_DIR", str(cache_folder))


def plant(towers: Path, folder: Path) -> None:
    import torch

    model = open_words(towers)
    assert model is not None
    tower, random = model.image_tower(), np.random.default_rng(0)
    seen = {}
    for number in range(4):
        pixels = scene(number)[::3, ::3].astype(np.float32) / 127.5 - 1
        with torch.no_grad():
            frame = torch.from_numpy(pixels).permute(2, 0, 1)[None]
            assert frame.shape[-1] == SIDE
            seen[number] = unit(tower(frame).numpy())[0]
    common = unit(np.mean(list(seen.values()), axis=0)[None])[0]
    own = {number: unit((vector - common)[None])[0] for number, vector in seen.items()}
    vectors = {}
    for word, number in SHOWN.items():
        for prompt in prompts_of(parse_label(word)):
            vectors[prompt] = own[number]
    noise = unit(random.normal(size=(len(BACKGROUND_WORDS) + 3, len(common))).astype(np.float32))
    for word, vector in zip(BACKGROUND_WORDS, noise, strict=False):
        vectors[word] = unit((vector - 0.9 * (vector @ common) * common)[None] * 0.3)[0]
    for prompt in prompts_of(parse_label("a cat")):
        vectors[prompt] = noise[-1]
    TextVectorCache(folder / "words", model._text_key(), model.config.size).write(vectors)


def document(outcome: Outcome) -> Any:
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def test_words_are_scored_and_answered(scenes: Path, towers: Path, run: Run) -> None:
    report = document(
        run("search", "the red corner", scenes, "-e", "a goal", "-m", towers, *OPTIONS, "--json")
    )
    assert [a["label"] for a in report["answers"]] == ["the red corner", "a goal"]
    first, second = (max(curve["values"]) for curve in report["scores"])
    assert report["model"]["architecture"] == "siglip2"
    assert first > 0 and second > 0
    peaks = [answer["at"] for answer in report["answers"]]
    assert peaks[0] < SCENE_SECONDS or peaks[0] >= 4 * SCENE_SECONDS
    assert 2 * SCENE_SECONDS <= peaks[1] < 3 * SCENE_SECONDS


def test_words_and_example_together(scenes: Path, towers: Path, run: Run, tmp_path: Path) -> None:
    still = write_still(tmp_path / "two.png", 2)
    command = ("search", "a goal", "--like", still, scenes, "-m", towers, *OPTIONS, "--json")
    (answer,) = document(run(*command))["answers"]
    assert answer["label"] == "a goal"
    assert 2 * SCENE_SECONDS <= answer["at"] < 3 * SCENE_SECONDS


def test_a_video_of_examples_needs_no_text_tower(scenes: Path, towers: Path, run: Run) -> None:
    like = f"{scenes}@1-4"
    report = document(run("search", "--like", like, scenes, "-m", towers, *OPTIONS, "--json"))
    assert report["answers"][0]["found"]


def test_the_same_features_serve_extract_and_search(scenes: Path, towers: Path, run: Run) -> None:
    assert run("search", "a goal", scenes, "-m", towers, "--fps", "1", "-q").code == 0
    outcome = run("extract", scenes, "-m", towers, "-o", "features.safetensors", "--json", "-q")
    assert document(outcome)["run"]["from_store"]


def test_the_default_model_is_named_with_what_fetches_it(scenes: Path, run: Run) -> None:
    outcome = run("search", "a goal", scenes, "--offline")
    assert outcome.code == 1 or outcome.code == 2
    (line,) = outcome.errors
    assert "`vtnstream models download siglip2-base`" in line
    assert "about 1.5 GB" in line and "Apache-2.0" in line


def test_models_list_names_them(run: Run) -> None:
    outcome = run("models", "list")
    assert "siglip2-base" in outcome.out and "google/siglip2-base-patch16-224" in outcome.out


def test_a_long_prompt_is_said(scenes: Path, towers: Path, run: Run) -> None:
    outcome = run("search", "the dog runs " * 40, scenes, "-m", towers, *OPTIONS)
    assert outcome.code == 2
    assert "the model reads 64" in outcome.errors[0]
