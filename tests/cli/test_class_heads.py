"""``classify``, ``evaluate``, ``models show`` and ``export`` of a model with verb and noun."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Outcome
from vtnstream.config import (
    BackboneConfig,
    HeadConfig,
    ModelConfig,
    PreprocessConfig,
    SamplingConfig,
    TemporalConfig,
)

Run = Callable[..., Outcome]
VERBS = ("close", "open", "take")
NOUNS = ("cup", "lid", "pan", "tap")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model whose answers differ between segments."""
    import torch

    from vtnstream.models.create import create_model
    from vtnstream.models.io.checkpoint import save_model

    torch.manual_seed(0)
    labels = (*(f"verb:{v}" for v in VERBS), *(f"noun:{n}" for n in NOUNS))
    config = ModelConfig(
        name="kitchen",
        sampling=SamplingConfig(fps=Fraction(2)),
        preprocess=PreprocessConfig(size=64, resize=64, mean=(0.5,) * 3, std=(0.5,) * 3),
        backbone=BackboneConfig("test_vit", {"img_size": 64}),
        temporal=TemporalConfig(
            num_layers=1, num_heads=4, intermediate_size=64, attention_window=(8,)
        ),
        head=HeadConfig(labels=labels, heads=("verb", "noun")),
    )
    made = create_model(config)
    with torch.no_grad():
        for layer in (made.mlp_head[1], made.mlp_head[4]):
            layer.weight.mul_(8)
    return save_model(made, tmp_path_factory.mktemp("models") / "kitchen")


@pytest.fixture
def segments(tmp_path: Path, video: Path) -> Path:
    """Eight segments of one video, of which two overlap."""
    rows = ["path,start,end,label:verb,label:noun"]
    for number in range(8):
        verb, noun = VERBS[number % 3], NOUNS[number % 4]
        rows.append(f"{video},{5 * number},{5 * number + (6 if number == 2 else 4)},{verb},{noun}")
    path = tmp_path / "segments.csv"
    path.write_text("\n".join(rows))
    return path


def test_evaluate_counts_verbs_nouns_and_actions(
    run: Run, model: Path, segments: Path, video: Path
) -> None:
    outcome = run("evaluate", segments, "-m", model, "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    hits: dict[str, list[bool]] = {name: [] for name in ("verb1", "noun1", "action1", "action5")}
    with open(segments) as file:
        for row in csv.DictReader(file):
            part = ("--start", row["start"], "--end", row["end"])
            said = json.loads(run("classify", video, "-m", model, *part, "--json").out)
            verbs, nouns = (
                {c["label"]: c["score"] for c in head["classes"]} for head in said["heads"]
            )
            truth = (row["label:verb"], row["label:noun"])
            pairs = sorted(
                ((verbs[v] * nouns[n], v, n) for v in verbs for n in nouns), reverse=True
            )
            hits["verb1"].append(max(verbs, key=verbs.__getitem__) == truth[0])
            hits["noun1"].append(max(nouns, key=nouns.__getitem__) == truth[1])
            hits["action1"].append(pairs[0][1:] == truth)
            hits["action5"].append(truth in [pair[1:] for pair in pairs[:5]])
            assert said["classes"][0]["label"] == " ".join(pairs[0][1:])
            assert said["classes"][0]["score"] == pytest.approx(pairs[0][0], abs=2e-6)
    assert (found["segments"], found["left_out"]) == (8, 0)
    for name, mine in hits.items():
        shown = found["metrics"][f"{name[:-1]}_top{name[-1]}"]
        assert shown == pytest.approx(100 * np.mean(mine)), name
    assert 0 < np.mean(hits["action5"]) < 1  # the test can fail
    low, high = found["intervals"]["action_top1"]
    assert low <= found["metrics"]["action_top1"] <= high
    assert found["per_class"]["verb:open"]["samples"] == 3
    table = run("evaluate", segments, "-m", model)
    assert table.code == 0, table.err
    assert table.err.count("frames") == 0 and "one pass over each segment" in table.out
    for name in ("segments", "action_top1", "action_top5", "verb_top1", "noun:tap"):
        assert name in table.out
    views = run("evaluate", segments, "-m", model, "--order", "multi-view-4x3", "--json")
    assert json.loads(views.out)["segments"] == 8, views.err


def test_whole_videos_and_stored_results(
    run: Run, model: Path, video: Path, tmp_path: Path
) -> None:
    table = tmp_path / "classes.csv"
    table.write_text(f"path,label:verb,label:noun\n{video},open,lid\n")
    live = json.loads(run("evaluate", table, "-m", model, "--json").out)
    assert live["videos"] == 1
    said = run("classify", video, "-m", model, "-o", tmp_path / "said", "-f", "json,csv,html")
    assert said.code == 0, said.err
    stored = json.loads(run("evaluate", table, "--predictions", tmp_path / "said", "--json").out)
    assert stored["metrics"] == pytest.approx(live["metrics"], abs=1e-3)
    rows = list(csv.DictReader(io.StringIO(next((tmp_path / "said").glob("*.csv")).read_text())))
    assert [row["head"] for row in rows] == ["action"] * 12 + ["verb"] * 3 + ["noun"] * 4
    assert "Verb of the whole video" in next((tmp_path / "said").glob("*.html")).read_text()
    shown = run("classify", video, "-m", model, "--top-k", "2")
    lines = shown.out.splitlines()
    for name in ("action", "verb", "noun"):
        assert name in lines
    assert sum(any(v in line.split() for v in VERBS) for line in lines) == 4  # 2 actions, 2 verbs


def test_what_several_heads_do_not_allow_is_one_line(
    run: Run, model: Path, model_folder: Path, segments: Path, video: Path, tmp_path: Path
) -> None:
    (tmp_path / "said").mkdir()
    for arguments, words in (
        (("-m", model_folder), "the model has one class head"),
        (("-m", model, "--confusion", "c.png"), "draws the classes of one head"),
        (("--predictions", tmp_path / "said"), "name the model with --model"),
        (("-m", model, "--order", "reference"), "these annotations are segments"),
        (("-m", model, "--order", "offline"), "use full-video or"),
    ):
        outcome = run("evaluate", segments, *arguments)
        assert outcome.code in (1, 2) and len(outcome.errors) == 1, outcome.err
        assert words in outcome.errors[0]
    followed = run("timeline", video, "-m", model, "--follow")
    suggested = run("suggest", video, "-m", model)
    assert suggested.code == 2 and "spans are suggested for models" in suggested.errors[0]
    assert followed.code == 2 and "several class heads (verb, noun)" in followed.errors[0]


def test_a_segment_that_cannot_be_read_is_left_out(
    run: Run, model: Path, video: Path, tmp_path: Path
) -> None:
    table = tmp_path / "late.csv"
    rows = [f"{video},0,4,open,lid", f"{video},900,904,take,cup"]
    table.write_text("\n".join(["path,start,end,label:verb,label:noun", *rows]))
    outcome = run("evaluate", table, "-m", model, "--json")
    assert outcome.code == 0, outcome.err
    assert "the segment of line 3 is left out" in outcome.err
    found = json.loads(outcome.out)
    assert (found["segments"], found["left_out"]) == (1, 1)


def test_the_model_is_described(run: Run, model: Path) -> None:
    shown = run("models", "show", model)
    assert shown.code == 0, shown.err
    assert "labels of a video (verb)" in shown.out and "close, open, take" in shown.out
    assert "labels of a video (noun)" in shown.out
