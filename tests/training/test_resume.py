"""An interrupted training run resumes with the same losses."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.test_run import Recorder, config, write_scenes
from vtnstream.config import (
    AugmentConfig,
    CheckpointConfig,
    DataConfig,
    OptimConfig,
    RuntimeConfig,
    TrainConfig,
)
from vtnstream.errors import OutputError, TrainingError, UsageError, VideoError
from vtnstream.models.io.checkpoint import load_model
from vtnstream.progress import NullProgress
from vtnstream.training.resume import UNFINISHED_FILE, read_unfinished
from vtnstream.training.run import TrainResult, train

RECIPE = """
mode = "frozen"
annotations = "classes.csv"
weights = "random"
output = "{output}"
[sampling]
fps = 2
[backbone]
name = "test_resnet"
[preprocess]
size = 32
resize = 32
[temporal]
num_layers = 2
num_heads = 2
hidden_size = 16
intermediate_size = 32
attention_window = [4]
[data]
validation = 0.25
[optim]
epochs = 8
batch_size = 1
label_smoothing = 0.1
mixup = 0.2
average = 0.9
[checkpoint]
seconds = 0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    lines = ["path,label"]
    for number in range(8):
        name = ("blue", "red")[number % 2]
        write_scenes(folder / f"{number}.mp4", [(name, 3 + number % 3)], number)
        lines.append(f"{number}.mp4,{name}")
    (folder / "classes.csv").write_text("\n".join(lines))
    return folder


def metrics(folder: Path) -> list[dict[str, object]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def weights(folder: Path) -> dict[str, object]:
    return {name: t.tolist() for name, t in load_model(folder).state_dict().items()}


def test_a_run_killed_within_an_epoch_resumes(folder: Path, tmp_path: Path) -> None:
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE.format(output="killed"))
    store = folder / "store"
    environment = {**os.environ, "VTNSTREAM_CACHE_DIR": str(store)}
    # No run is in this process, because other tests may have changed the threads.
    arguments = ["train", str(recipe), "--device", "cpu", "--threads", "1"]
    command = [sys.executable, "-m", "vtnstream", *arguments]
    child = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    written = 0
    while True:
        assert child.poll() is None, child.communicate()[1]
        time.sleep(0.003)
        file = folder / "killed" / UNFINISHED_FILE
        if not file.exists() or written == (written := file.stat().st_mtime_ns):
            continue
        left = read_unfinished(folder / "killed")
        if left is not None and left.state["epoch"] > 2 and 0 < left.state["batch"] < 6:
            break
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    left = read_unfinished(folder / "killed")
    assert left is not None and left.state["epoch"] <= 8
    assert not (folder / "killed" / "train.json").exists()
    load_model(folder / "killed")  # the best so far

    other = [*arguments, "-o", str(tmp_path / "whole"), "--set", "checkpoint.seconds=60"]
    program = (
        "import sys; from vtnstream.cli.main import main\n"
        f"sys.exit(main({arguments!r}) or main({other!r}))"
    )
    both = [sys.executable, "-c", program]
    done = subprocess.run(both, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("continues after step") == 1
    assert metrics(folder / "killed") == metrics(tmp_path / "whole")
    assert weights(folder / "killed") == weights(tmp_path / "whole")
    assert weights(folder / "killed" / "last") == weights(tmp_path / "whole" / "last")
    assert not (folder / "killed" / UNFINISHED_FILE).exists()


class Cut(NullProgress):
    """Interrupts training after a number of steps or epochs."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.training = False

    def start(self, what: str, *, total: float | None, unit: str) -> None:
        self.training = what == "training"

    def advance(self, done: float, *, note: str = "") -> None:
        self.left -= self.training
        if self.left < 0:
            raise KeyboardInterrupt


def settings(folder: Path, output: Path, **changes: object) -> TrainConfig:
    base = config(folder / "classes.csv", output, checkpoint=CheckpointConfig(seconds=0))
    optim = OptimConfig(
        epochs=4, batch_size=2, optimizer="sgd", schedule="step", step_epochs=(0, 2, 3),
        average=0.9, learning_rate=0.01, grad_clip=0.0,
    )  # fmt: skip
    return replace(base, **{"optim": optim, **changes})  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["frozen", "end-to-end"])
def test_a_run_resumes_from_any_step(folder: Path, tmp_path: Path, mode: str) -> None:
    runtime = RuntimeConfig(device="cpu", cache_dir=folder / "store")
    more: dict[str, object] = {}
    if mode == "end-to-end":
        augment = AugmentConfig(horizontal_flip=0.5, colour_jitter=0.3, rand_augment=(1, 5))
        more = {"mode": mode, "feature_norm": "none", "augment": augment}
    whole = train(settings(folder, tmp_path / "whole", **more), runtime=runtime)
    cut = settings(folder, tmp_path / "cut", **more)
    for after in (1, 2, 3, 5):  # in and between epochs; each goes on where the last stopped
        with pytest.raises(KeyboardInterrupt):
            train(cut, runtime=runtime, progress=Cut(after))
    result = train(cut, runtime=runtime)
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")
    assert result.best.epoch == whole.best.epoch
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_other_settings_or_videos_are_refused(folder: Path, tmp_path: Path) -> None:
    runtime = RuntimeConfig(device="cpu", cache_dir=folder / "store")
    cut = settings(folder, tmp_path / "m")
    with pytest.raises(KeyboardInterrupt):
        train(cut, runtime=runtime, progress=Cut(4))
    other = replace(cut, optim=replace(cut.optim, epochs=9))
    with pytest.raises(UsageError, match=r"optim\.epochs was 4, is 9.*--overwrite"):
        train(other, runtime=runtime)
    lines = (folder / "classes.csv").read_text().splitlines()
    (folder / "fewer.csv").write_text("\n".join(lines[:-2]))
    fewer = replace(cut, annotations=str(folder / "fewer.csv"))
    with pytest.raises(UsageError, match="annotations was"):
        train(fewer, runtime=runtime)
    (folder / "classes.csv").write_text("\n".join(lines[:-2]))
    try:
        with pytest.raises(UsageError, match="other videos or annotations"):
            train(cut, runtime=runtime)
    finally:
        (folder / "classes.csv").write_text("\n".join(lines))
    (tmp_path / "m" / UNFINISHED_FILE).write_bytes(b"cut short")
    with pytest.raises(TrainingError, match=r"unfinished\.pt: .*cannot be read.*--overwrite"):
        train(cut, runtime=runtime)
    result = train(other, runtime=runtime, restart=True)
    assert len(result.records) == 9


def test_a_full_disk_is_an_error_or_skipped(folder: Path, tmp_path: Path) -> None:
    """A limit of the kernel prevents files from growing, as a full disk does."""
    runtime = RuntimeConfig(device="cpu", cache_dir=folder / "store")
    cut = settings(folder, tmp_path / "m")
    with pytest.raises(KeyboardInterrupt):
        train(cut, runtime=runtime, progress=Cut(8))
    before = read_unfinished(tmp_path / "m")
    assert before is not None
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OutputError, match=r"cannot be (saved|written)"):
            train(cut, runtime=runtime)
        skips = replace(cut, checkpoint=CheckpointConfig(0, on_error="skip"))
        progress = Recorder()
        with pytest.raises(OutputError):  # at its end nothing else is left to do
            train(skips, runtime=runtime, progress=progress)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert any("the training continues" in warning for warning in progress.warnings)
    after = read_unfinished(tmp_path / "m")
    assert after is not None and after.state["steps"] == before.state["steps"]
    load_model(tmp_path / "m")
    assert not [p for p in (tmp_path / "m").iterdir() if p.name.startswith(".vtnstream")]
    train(cut, runtime=runtime)
    whole = train(settings(folder, tmp_path / "whole"), runtime=runtime)
    assert [r["loss"] for r in metrics(tmp_path / "m")] == [r.loss for r in whole.records]


def test_a_training_video_that_disappears_is_an_error_or_skipped(
    folder: Path, tmp_path: Path
) -> None:
    runtime = RuntimeConfig(device="cpu", cache_dir=tmp_path / "store")
    for number in range(8):
        (tmp_path / f"{number}.mp4").write_bytes((folder / f"{number}.mp4").read_bytes())
    (tmp_path / "classes.csv").write_text((folder / "classes.csv").read_text())

    class Deleting(Recorder):
        def advance(self, done: float, *, note: str = "") -> None:
            super().advance(done, note=note)
            if self.started[-1] == "training" and done > 1:
                (tmp_path / "5.mp4").unlink(missing_ok=True)

    def ask(output: str, on_bad_video: str) -> TrainConfig:
        data = DataConfig(validation=0, memory_bytes=0, on_bad_video=on_bad_video)
        return settings(
            tmp_path, tmp_path / output, mode="end-to-end", feature_norm="none", data=data
        )

    progress = Deleting()
    result = train(ask("skips", "skip"), runtime=runtime, progress=progress)
    assert len(result.records) == 4
    told = [warning for warning in progress.warnings if "5.mp4" in warning]
    assert len(told) == 1 and "left out while it cannot be read" in told[0]
    (tmp_path / "5.mp4").write_bytes((folder / "5.mp4").read_bytes())
    with pytest.raises(Exception, match=r"5\.mp4"):
        train(ask("stops", "stop"), runtime=runtime, progress=Deleting())
    load_model(tmp_path / "stops")
    (tmp_path / "5.mp4").write_bytes((folder / "5.mp4").read_bytes())
    assert len(train(ask("stops", "stop"), runtime=runtime).records) == 4


@pytest.mark.slow
def test_a_validation_video_that_disappears_is_an_error_or_skipped(
    folder: Path, tmp_path: Path
) -> None:
    runtime = RuntimeConfig(device="cpu", cache_dir=tmp_path / "store")
    lines = ["path,label,split"]
    for number in range(4):
        (tmp_path / f"{number}.mp4").write_bytes((folder / f"{number}.mp4").read_bytes())
        split = "train" if number < 2 else "validation"
        lines.append(f"{number}.mp4,{('blue', 'red')[number % 2]},{split}")
    (tmp_path / "classes.csv").write_text("\n".join(lines))

    class Deleting(Recorder):
        gone = ("3.mp4",)

        def advance(self, done: float, *, note: str = "") -> None:
            super().advance(done, note=note)
            if self.started[-1] == "training" and done > 1:
                for name in self.gone:
                    (tmp_path / name).unlink(missing_ok=True)

    class DeletingAll(Deleting):
        gone = ("2.mp4", "3.mp4")

    def ask(on_bad_video: str, progress: Recorder) -> TrainResult:
        (tmp_path / "3.mp4").write_bytes((folder / "3.mp4").read_bytes())
        data = DataConfig(memory_bytes=0, on_bad_video=on_bad_video)
        more = {"mode": "end-to-end", "feature_norm": "none", "data": data}
        asked = settings(tmp_path, tmp_path / on_bad_video, **more)
        return train(asked, runtime=runtime, progress=progress, restart=True)

    progress = Deleting()
    result = ask("skip", progress)
    assert len(result.records) == 4
    assert {record.validation["accuracy"] for record in result.records[1:]} <= {0.0, 100.0}
    (told,) = [warning for warning in progress.warnings if "3.mp4" in warning]
    assert "left out while it cannot be read" in told
    with pytest.raises(VideoError, match=r"3\.mp4"):
        ask("stop", Deleting())
    load_model(tmp_path / "stop")
    with pytest.raises(TrainingError, match="none of the held-out videos can be read"):
        ask("skip", DeletingAll())
