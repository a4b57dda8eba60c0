"""The bundled model answers in numpy where it can: reports equal those of torch in float32."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vtnstream.analyzer import Analyzer
from vtnstream.config import ModelConfig, RuntimeConfig, TimelineConfig
from vtnstream.config.shipped import bundled_model
from vtnstream.config.summary import SummaryConfig
from vtnstream.config.views import ViewsConfig
from vtnstream.errors import UsageError
from vtnstream.inference.model_facts import FactsFile
from vtnstream.inference.request import Request
from vtnstream.inference.stored_answers import StoredAnswers
from vtnstream.models.io.checkpoint import load_model, read_config, save_model
from vtnstream.types import Report
from vtnstream.video.write import write_video

PLAIN = Request()


def frames() -> Iterator[np.ndarray]:
    """Shots of drifting gratings, a dissolve in their middle and a black end."""
    y, x = np.mgrid[0:72, 0:96].astype(np.float32)

    def shot(number: int, count: int) -> np.ndarray:
        random = np.random.default_rng(number)
        slope, colour = random.uniform(-0.2, 0.2, 2), random.uniform(20, 235, 3)
        waves = [np.sin(slope[0] * (x + n) + slope[1] * y) for n in range(count)]
        return np.stack(waves)[..., None] * random.uniform(-90, 90, 3) + colour

    first, second, third = shot(1, 40), shot(2, 45), shot(3, 50)
    share = np.linspace(0, 1, 20, dtype=np.float32)[:, None, None, None]
    mixed = second[-20:] * (1 - share) + third[:20] * share
    for part in (first, second[:-20], mixed, third[20:], np.zeros((12, 72, 96, 3))):
        yield from part.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("edited") / "edited.mp4"
    write_video(path, frames(), Fraction(25))
    return path


def in_torch(runtime: RuntimeConfig) -> RuntimeConfig:
    return dataclasses.replace(runtime, backend="eager", dtype="float32")


def default(runtime: RuntimeConfig) -> RuntimeConfig:
    """The settings of a user who names none; the fixtures' own name a precision."""
    return dataclasses.replace(runtime, dtype="auto", backend="auto", device="cpu")


def check_equal(found: Report, expected: Report) -> None:
    """Compare what a report says; its numbers by their rounding."""
    assert found.run["numpy"] and "torch" not in found.run and expected.run["torch"]
    assert found.run["runtime"]["backend"] == "numpy"
    assert found.model == expected.model and found.settings == expected.settings
    for ours, theirs in ((found.classes, expected.classes), (found.segments, expected.segments)):
        if theirs is None:
            assert ours is None
            continue
        assert ours is not None and len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert dataclasses.replace(one, score=0) == dataclasses.replace(other, score=0)
            assert one.score == pytest.approx(other.score, abs=1e-4)
    if expected.frame_scores is not None:
        assert found.frame_scores is not None
        assert found.frame_scores.columns == expected.frame_scores.columns
        for column, ours, theirs in zip(
            found.frame_scores.columns,
            found.frame_scores.values.T,
            expected.frame_scores.values.T,
            strict=True,
        ):
            # The spread is a share of 96 places whose change is above a limit.
            allowed = 1 / 96 if column == "spread" else 0
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3 + allowed)


@pytest.mark.parametrize(
    ("request_", "options"),
    [
        (Request(frame_scores=True), TimelineConfig()),
        (PLAIN, TimelineConfig(localize="both", window=32)),
        (Request(start="1.5", end="4.25"), TimelineConfig(sensitivity=0.7)),
        (PLAIN, None),
    ],
    ids=["frame scores", "windows", "range", "classify"],
)
def test_reports(
    edited: Path, request_: Request, options: TimelineConfig | None, runtime: RuntimeConfig
) -> None:
    ours = Analyzer(None, runtime=default(runtime))
    theirs = Analyzer("edits", runtime=in_torch(runtime))
    if options is None:
        found, expected = ours.classify(edited, request_), theirs.classify(edited, request_)
    else:
        found = ours.timeline(edited, request_, options)
        expected = theirs.timeline(edited, request_, options)
        assert expected.segments
    check_equal(found, expected)


def test_attention_and_summaries(edited: Path, runtime: RuntimeConfig) -> None:
    ours = Analyzer(None, runtime=default(runtime))
    theirs = Analyzer("edits", runtime=in_torch(runtime))
    found, weights = ours.attention(edited, PLAIN)
    expected, others = theirs.attention(edited, PLAIN)
    check_equal(found, expected)
    np.testing.assert_allclose(weights.weights, others.weights, rtol=0, atol=1e-5)
    config = SummaryConfig(length=3)
    check_equal(
        ours.summarize(edited, PLAIN, TimelineConfig(), config),
        theirs.summarize(edited, PLAIN, TimelineConfig(), config),
    )


def test_a_model_of_the_same_layout_with_windows_of_its_class_head(
    edited: Path, runtime: RuntimeConfig, tmp_path: Path
) -> None:
    config = read_config(bundled_model())
    head = dataclasses.replace(
        config.head, labels=("a", "b", "c", "d", "e"), events=None, dense_labels=("x",) * 0
    )
    own: ModelConfig = dataclasses.replace(config, name="own", head=head)
    model = load_model("edits")
    model.config, model.dense_head = own, None  # type: ignore[assignment]
    folder = save_model(model, tmp_path / "own")
    options = TimelineConfig(window=40, stride=10)
    ours = Analyzer(folder, runtime=default(runtime)).timeline(edited, PLAIN, options)
    theirs = Analyzer(folder, runtime=in_torch(runtime)).timeline(edited, PLAIN, options)
    assert ours.segments and {s.label for s in ours.segments} <= set("abcde")
    check_equal(ours, theirs)


def test_a_stored_answer_is_that_of_numpy(edited: Path, runtime: RuntimeConfig) -> None:
    runtime = default(runtime)
    analyzer = Analyzer(None, runtime=runtime, keep_outputs=True)
    first = analyzer.timeline(edited, PLAIN, TimelineConfig())
    answers = StoredAnswers.of(None, "edits", runtime)
    assert answers is not None and FactsFile.of(None, runtime) is not None
    again = answers.report(edited, PLAIN, TimelineConfig())
    assert again is not None and again.run["scores_from_store"]
    assert (again.segments, again.classes) == (first.segments, first.classes)
    assert again.run["numpy"] == first.run["numpy"] and "torch" not in again.run
    assert again.run["runtime"]["backend"] == "numpy"


def test_what_numpy_cannot_do_is_done_in_torch(edited: Path, runtime: RuntimeConfig) -> None:
    analyzer = Analyzer(None, runtime=default(runtime))
    whole = Request(method="end-to-end")
    assert analyzer.classify(edited, whole).run["torch"]
    assert analyzer.timeline(edited, PLAIN, TimelineConfig()).run["numpy"]
    numpy_only = dataclasses.replace(default(runtime), backend="numpy")
    with pytest.raises(UsageError, match=r"--backend numpy makes one pass.*leave it out"):
        Analyzer(None, runtime=numpy_only).classify(edited, whole)
    for change in ({"dtype": "bfloat16"}, {"backend": "eager"}):
        other = Analyzer(None, runtime=dataclasses.replace(default(runtime), **change))
        assert other.encoder.computed_on.torch


def test_views_say_nothing_of_how_a_video_is_cut(edited: Path, runtime: RuntimeConfig) -> None:
    views = Request(views=ViewsConfig.parse("2x1"))
    with pytest.raises(UsageError, match=r"by its cuts.*leave --views out"):
        Analyzer(None, runtime=default(runtime)).classify(edited, views)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "bfloat16"}, "computes in float32, not in bfloat16"),
        ({"device": "cuda"}, "runs on the CPU, not on --device cuda"),
    ],
)
def test_settings_that_numpy_lacks(
    change: dict[str, str], message: str, runtime: RuntimeConfig
) -> None:
    asked = dataclasses.replace(default(runtime), backend="numpy")
    with pytest.raises(UsageError, match=message):
        Analyzer(None, runtime=dataclasses.replace(asked, **change))
    with pytest.raises(UsageError, match="no model folder that numpy can run"):
        Analyzer("vtn-vit-b-kinetics", runtime=asked)


def test_commands_and_the_library_import_no_torch(edited: Path, tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from vtnstream.cli.main import main\n"
        "codes = [main([name, *sys.argv[1:]]) for name in ('timeline', 'classify', 'split')]\n"
        "import vtnstream\n"
        "runtime = vtnstream.RuntimeConfig(device='cpu', use_cache=False)\n"
        "assert vtnstream.timeline(sys.argv[1], runtime=runtime).segments\n"
        "heavy = {'torch', 'torchvision', 'timm', 'transformers'} & set(sys.modules)\n"
        "print(codes, sorted(heavy), file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", script, str(edited), "-q", "-o", str(tmp_path / "out")]
    command += ["--cache-dir", str(tmp_path / "cache"), "--device", "cpu"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.stderr.splitlines()[-1] == "[0, 0, 0] []"
