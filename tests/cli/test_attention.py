"""``vtnstream attention``: strip, moments, image and data of a real run."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vtnstream

from .conftest import Outcome

Run = Callable[..., Outcome]


def test_strip_and_moments_of_a_video(run: Run, video: Path, model_folder: Path) -> None:
    outcome = run("attention", video, "--model", model_folder, "--top", "3")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert any("attention of [CLS]" in line for line in lines)
    rows = [line for line in lines if line.strip()[:1] in "123" and "×" in line]
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]
    multiples = [float(row.split("×")[0].split()[-1]) for row in rows]
    assert multiples == sorted(multiples, reverse=True)
    assert multiples[0] >= 1


def test_files_have_all_weights_and_an_image(
    run: Run, video: Path, model_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    outcome = run("attention", video, "--model", model_folder, "-o", folder)
    assert outcome.code == 0, outcome.err
    document = json.loads((folder / "film one.mp4.attention.json").read_text())
    _, found = vtnstream.attention(video, model=model_folder)
    weights = np.array(document["weights"])
    assert weights.shape == found.weights.shape == (2, 4, 80)
    np.testing.assert_allclose(weights, found.weights, rtol=1e-3)
    assert (weights.sum(-1) <= 1.001).all()
    assert weights.sum(-1).min() > 0.5  # the rest is what [CLS] gives itself
    assert document["start"] == pytest.approx(found.times.start_seconds.tolist())
    image = Image.open(io.BytesIO((folder / "film one.mp4.attention.png").read_bytes()))
    assert image.width > 12 * 100
    colors = len(image.convert("RGB").getcolors(1 << 24))
    assert colors > 1000, "frames of the video are in the image"


def test_json_is_one_document(run: Run, video: Path, model_folder: Path) -> None:
    document = json.loads(run("attention", video, "--model", model_folder, "--json").out)
    assert document["schema"] == "vtnstream/attention/1"
    assert len(document["moments"]) == 5
    shares = [m["multiple"] for m in document["moments"]]
    assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("--layer", "3"), "the model has 2 layers"), (("--head", "9"), "the model has 4 heads")],
)
def test_layers_and_heads_that_are_not_there(
    run: Run, video: Path, model_folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    outcome = run("attention", video, "--model", model_folder, *arguments)
    assert outcome.code == 2
    assert words in outcome.errors[0]


def test_every_layer_and_head_has_its_own_strip(run: Run, video: Path, model_folder: Path) -> None:
    strips = {
        run("attention", video, "--model", model_folder, "--layer", layer, "--head", head).out
        for layer in "12"
        for head in "1234"
    }
    assert len(strips) == 8
