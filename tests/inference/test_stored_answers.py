"""Answers from the store equal those of the loaded model, and import no torch."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vtnstream
from vtnstream.analyzer import Analyzer
from vtnstream.config import RuntimeConfig, TimelineConfig
from vtnstream.config.summary import SummaryConfig
from vtnstream.inference.request import Request
from vtnstream.inference.stored_answers import StoredAnswers
from vtnstream.models.io.checkpoint import save_model
from vtnstream.models.vtn.model import VTN
from vtnstream.report.writers.structured import report_json
from vtnstream.types import Report

SLIDING = TimelineConfig(localize="both", window=24)
_OF_THE_RUN = {
    "seconds",
    "temporal_seconds",
    "extract_seconds",
    "decode_wait_seconds",
    "backbone_seconds",
    "scores_from_store",
}


SHELL = {name: value for name, value in os.environ.items() if not name.startswith("KMP_")}
"""The environment of a shell, without what libraries have set in the process of the tests."""

SCRIPT = (
    "import sys\n"
    "from vtnstream.cli.main import main\n"
    "code = main(sys.argv[1:])\n"
    "heavy = {'torch', 'torchvision', 'timm', 'transformers'} & set(sys.modules)\n"
    "print(code, sorted(heavy), file=sys.stderr)\n"
)
"""Runs a command, and prints its code and the large libraries that it imported."""


@pytest.fixture
def folder(model: VTN, tmp_path: Path) -> Path:
    return save_model(model, tmp_path / "model")


def answers_of(report: Report | None) -> dict[str, Any]:
    """The report as JSON, with every number as it is, without what a clock has measured."""
    assert report is not None
    document: dict[str, Any] = json.loads(report_json(report))
    document["run"] = {k: v for k, v in document["run"].items() if k not in _OF_THE_RUN}
    return document


def stored(folder: Path, runtime: RuntimeConfig) -> StoredAnswers | None:
    return StoredAnswers.of(str(folder), str(folder), runtime)


@pytest.mark.parametrize("span", [(None, None), ("0:20", "1:31.3")])
def test_a_stored_answer_is_that_of_the_model_bit_for_bit(
    video: Path, folder: Path, runtime: RuntimeConfig, span: tuple[str | None, str | None]
) -> None:
    request = Request(start=span[0], end=span[1])
    for _ in range(2):  # the second run of a loaded model decodes nothing either
        plain = Analyzer(str(folder), runtime=runtime, keep_outputs=True)
        timeline = plain.timeline(video, request, SLIDING)
        classes = plain.classify(video, request)
    answers = stored(folder, runtime)
    assert answers is not None
    found = answers.report(video, request, SLIDING)
    assert answers_of(found) == answers_of(timeline)
    assert found is not None and found.run["scores_from_store"]
    assert answers_of(answers.report(video, request, None)) == answers_of(classes)
    # Another way to cut the same scores is answered as well.
    strict = dataclasses.replace(SLIDING, localize="dense", window=None, threshold=0.9)
    cut = answers.report(video, request, strict)
    assert cut is None  # the dense head alone was not asked for before
    plain.timeline(video, request, strict)
    loose = dataclasses.replace(strict, threshold=0.4, smoothing="median")
    expected = plain.timeline(video, request, loose)
    assert answers_of(answers.report(video, request, loose)) == answers_of(expected)


def test_a_stored_summary_is_that_of_the_model_bit_for_bit(
    video: Path, folder: Path, runtime: RuntimeConfig
) -> None:
    request, summary = Request(), SummaryConfig(length=20)
    for _ in range(2):  # the second run of a loaded model decodes nothing either
        plain = Analyzer(str(folder), runtime=runtime, keep_outputs=True)
        expected = plain.summarize(video, request, SLIDING, summary)
    assert expected.segments and expected.settings["summary"]["length"] == 20
    answers = stored(folder, runtime)
    assert answers is not None
    found = answers.report(video, request, SLIDING, summary)
    assert answers_of(found) == answers_of(expected)
    assert found is not None and found.run["scores_from_store"]
    # It needs the outputs of the timeline along which it selects, and no others.
    timeline = plain.timeline(video, request, SLIDING)
    assert answers_of(answers.report(video, request, SLIDING)) == answers_of(timeline)
    shorter = dataclasses.replace(summary, length=7, piece=2)
    expected = plain.summarize(video, request, SLIDING, shorter)
    assert answers_of(answers.report(video, request, SLIDING, shorter)) == answers_of(expected)
    assert answers.report(video, request, TimelineConfig(localize="dense"), summary) is None
    # What fits no summary is an error of the model, not of the store.
    assert answers.report(video, request, SLIDING, SummaryConfig(length=1, shortest=2)) is None


@pytest.mark.parametrize("span", [(None, None), ("0:20", "1:31.3")])
def test_stored_attention_is_that_of_the_model_bit_for_bit(
    video: Path, folder: Path, runtime: RuntimeConfig, span: tuple[str | None, str | None]
) -> None:
    request = Request(start=span[0], end=span[1])
    for first in (True, False):  # the second run of a loaded model decodes nothing either
        plain = Analyzer(str(folder), runtime=runtime, keep_outputs=True)
        classes = plain.classify(video, request)
        answers = stored(folder, runtime)
        assert answers is not None
        if first:  # the outputs of other questions have the attention of the last layer only
            assert answers.attention(video, request) is None
        report, weights = plain.attention(video, request)
    found = answers.attention(video, request)
    assert found is not None and found[0].run["scores_from_store"]
    assert answers_of(found[0]) == answers_of(report)
    assert len(weights.weights) == plain.config.temporal.num_layers > 1
    np.testing.assert_array_equal(found[1].weights, weights.weights)
    assert found[1].times.pts.tolist() == weights.times.pts.tolist()
    assert found[0].classes == classes.classes
    assert answers.attention(video, Request(start=3)) is None
    assert answers.attention(video, Request(shuffle=1)) is None


def test_whatever_decides_an_answer_is_in_its_key(
    video: Path, folder: Path, runtime: RuntimeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request()
    Analyzer(str(folder), runtime=runtime, keep_outputs=True).timeline(video, request, SLIDING)
    answers = stored(folder, runtime)
    assert answers is not None
    assert answers.report(video, request, SLIDING) is not None
    for other in (
        dataclasses.replace(SLIDING, window=25),
        dataclasses.replace(SLIDING, stride=3),
    ):
        assert answers.report(video, request, other) is None
    assert answers.report(video, Request(start=3), SLIDING) is None
    assert answers.report(video, Request(method="end-to-end"), SLIDING) is None
    assert answers.report(video, Request(shuffle=1), SLIDING) is None
    for change in ({"threads": 2}, {"dtype": "bfloat16"}, {"backend": "eager"}):
        assert stored(folder, dataclasses.replace(runtime, **change)) is None
    assert stored(folder, dataclasses.replace(runtime, use_cache=False)) is None
    with monkeypatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "3")
        assert stored(folder, runtime) is None
    os.utime(folder / "model.safetensors", ns=(1, 1))
    assert stored(folder, runtime) is None


def test_missing_and_damaged_parts_are_left_to_the_model(
    video: Path, folder: Path, runtime: RuntimeConfig
) -> None:
    request = Request()
    Analyzer(str(folder), runtime=runtime, keep_outputs=True).timeline(video, request, SLIDING)
    answers = stored(folder, runtime)
    assert answers is not None and runtime.cache_dir is not None
    (scores,) = runtime.cache_dir.glob("features/*/*/scores_*")
    good = scores.read_bytes()
    scores.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert answers.report(video, request, SLIDING) is None
    scores.write_bytes(good)
    assert answers.report(video, request, SLIDING) is not None
    chunk = scores.with_name("00000000.safetensors")
    chunk.write_bytes(chunk.read_bytes()[:-8])
    assert answers.report(video, request, SLIDING) is None
    assert answers.report(video.with_name("missing.mp4"), request, SLIDING) is None


def test_commands_of_the_bundled_model_import_no_torch(video: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, "timeline", str(video), "-q", "--json"]
    command += ["--cache-dir", str(tmp_path / "cache")]
    runs = [subprocess.run(command, capture_output=True, text=True, env=SHELL) for _ in range(2)]
    assert runs[0].stderr.splitlines()[-1] == "0 []"
    assert runs[1].stderr.splitlines()[-1] == "0 []"
    first, second = (json.loads(run.stdout) for run in runs)
    for part in ("classes", "segments", "scores", "attention", "model", "sampling", "settings"):
        assert first[part] == second[part]


@pytest.mark.parametrize(
    "asked",
    [
        ("summarize", "--length", "20", "-f", "edl,otio,csv,json"),
        ("attention", "--layer", "1", "--head", "2"),
    ],
)
def test_a_second_run_imports_no_torch_and_gives_the_same(
    video: Path, folder: Path, tmp_path: Path, asked: tuple[str, ...]
) -> None:
    outputs = []
    for number in range(2):
        out = tmp_path / f"out {number}"
        command = [*asked, str(video), "--model", str(folder), "-q", "--dtype", "float32"]
        command += ["--cache-dir", str(tmp_path / "cache"), "-o", str(out)]
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *command], capture_output=True, env=SHELL
        )
        imported = done.stderr.decode().splitlines()[-1]
        assert imported == "0 []" if number else "torch" in imported, done.stderr
        files = {file.name: file.read_bytes() for file in out.iterdir()}
        (report,) = (name for name in files if name.endswith(".json"))
        document = json.loads(files.pop(report))
        assert bool(document.pop("run").get("scores_from_store")) is bool(number)
        outputs.append((files, document))
    assert outputs[0][0] and outputs[0] == outputs[1]


def test_the_python_api_answers_from_the_store(
    video: Path, folder: Path, runtime: RuntimeConfig
) -> None:
    """A new process answers a repeated question without torch, as the model did."""
    script = (
        "import dataclasses, json, sys\n"
        "from pathlib import Path\n"
        "import vtnstream\n"
        "from vtnstream.config import RuntimeConfig, TimelineConfig\n"
        "from vtnstream.report.writers.structured import report_json\n"
        "options = TimelineConfig(localize='both', window=24)\n"
        "runtime = RuntimeConfig(cache_dir=Path(sys.argv[3]), dtype='float32')\n"
        "about = {'model': sys.argv[2], 'runtime': runtime}\n"
        "line = vtnstream.timeline(sys.argv[1], options=options, **about)\n"
        "whole = vtnstream.classify(sys.argv[1], **about)\n"
        "print(json.dumps(['torch' in sys.modules, report_json(line), report_json(whole)]))\n"
    )
    command = [sys.executable, "-c", script, str(video), str(folder), str(runtime.cache_dir)]
    found = []
    for first in (True, False):
        done = subprocess.run(command, capture_output=True, text=True, env=SHELL)
        assert not done.returncode, done.stderr
        used_torch, *texts = json.loads(done.stdout)
        assert used_torch is first
        found.append([json.loads(text) for text in texts])
        if first:  # a question in a process that has imported torch is answered by the model
            own = dataclasses.replace(runtime, dtype="float32")
            report = vtnstream.timeline(video, options=SLIDING, model=folder, runtime=own)
            assert not report.run.get("scores_from_store")
    for one, other in zip(*found, strict=True):
        assert other["run"]["scores_from_store"] and not one["run"].get("scores_from_store")
        for document in (one, other):
            assert document.pop("run")["tokens"] == 300  # where they come from is not the same
        assert one == other
