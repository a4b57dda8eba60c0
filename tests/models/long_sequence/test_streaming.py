"""The encoder in blocks compared with the plain pass over the whole sequence."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.models.small import HEAD, as_batch, sequence, small_vtn
from vtnstream.config import HeadConfig
from vtnstream.models.long_sequence.streaming import encode_sequence
from vtnstream.models.vtn.model import VTN
from vtnstream.types import Features


def check(model: VTN, features: Features, block_size: int | None) -> None:
    tokens, indices = as_batch(features)
    with torch.no_grad():
        plain = model.forward_features(tokens, indices=indices)
    blocks = encode_sequence(model, features, block_size=block_size)
    for ours, theirs in zip((blocks.logits, blocks.dense_logits), plain, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            assert ours.dtype == np.float32
            np.testing.assert_allclose(ours, theirs[0].numpy(), rtol=1e-5, atol=1e-5)
    first = encode_sequence(model, features, block_size=block_size, dense=False)
    assert first.dense_logits is None
    if first.logits is not None and blocks.logits is not None:
        np.testing.assert_allclose(first.logits, blocks.logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 7, 16, 33, 257])
@pytest.mark.parametrize("block_size", [8, 33, 1000, None])
@pytest.mark.parametrize("window", [2, 8, 120])
def test_equal_for_any_length_block_and_window(
    count: int, block_size: int | None, window: int
) -> None:
    check(small_vtn(attention_window=(window,)), sequence(count), block_size)


@pytest.mark.parametrize("positions", ["rotary", "learned", "fixed", "none"])
@pytest.mark.parametrize("feature_norm", ["none", "dataset", "video_mean", "running_mean"])
def test_equal_for_any_position_and_norm(positions: str, feature_norm: str) -> None:
    model = small_vtn(positions=positions, feature_norm=feature_norm)
    check(model, sequence(150), 32)


@pytest.mark.parametrize(
    "temporal",
    [
        {"num_layers": 1},
        {"num_layers": 3, "attention_window": (4, 30, 100)},
        {"hidden_size": 32},
        {"global_attention": False},
    ],
)
def test_equal_for_any_shape(temporal: dict[str, object]) -> None:
    check(small_vtn(**temporal), sequence(150), 32)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "head", [HeadConfig(labels=HEAD.labels), HeadConfig(dense_labels=HEAD.dense_labels)]
)
@pytest.mark.parametrize("num_layers", [1, 2])
def test_either_head_only(head: HeadConfig, num_layers: int) -> None:
    check(small_vtn(head=head, num_layers=num_layers), sequence(90), 32)


def test_long_sequence_does_not_drift() -> None:
    check(small_vtn(num_layers=3, attention_window=(32,)), sequence(20_000), 512)


def test_half_precision_weights_run() -> None:
    model = small_vtn().to(torch.bfloat16)
    exact = encode_sequence(small_vtn(), sequence(100))
    rounded = encode_sequence(model, sequence(100))
    assert rounded.dense_logits is not None and exact.dense_logits is not None
    assert np.abs(rounded.dense_logits - exact.dense_logits).mean() < 0.05


MEASURE = """
import sys, threading, time
import numpy as np, torch
from vtnstream.cli.framework.process_settings import keep_freed_memory
from vtnstream.config import HeadConfig, ModelConfig, TemporalConfig
from vtnstream.inference.plan import temporal_bound_bytes
from vtnstream.models.long_sequence.shared_windows import SharedWindows
from vtnstream.models.long_sequence.streaming import encode_sequence
from vtnstream.models.vtn.model import VTN
from vtnstream.models.long_sequence.windows import encode_windows
from vtnstream.types import TokenTimes

torch.set_num_threads(1)
keep_freed_memory()  # as the command does
count, size, classes, what = *map(int, sys.argv[1:4]), sys.argv[4]

class OnDisk:  # features come from a store: a block at a time
    num_features = size
    def __init__(self):
        indices, seconds = np.arange(count), np.arange(count) / 2
        self.times = TokenTimes(indices, indices, seconds, seconds + .5)
    def blocks(self, rows):
        for start in range(0, count, rows):
            random = np.random.default_rng(start)
            yield random.standard_normal((min(rows, count - start), size), dtype=np.float32)

def anonymous():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) * 1024

encoder = torch.nn.Linear(1, size)
encoder.num_features = size
names = tuple(map(str, range(classes)))
config = ModelConfig(feature_norm="video_mean", temporal=TemporalConfig(num_layers=3),
                     head=HeadConfig(labels=names, dense_labels=names))
model, features = VTN(config, encoder).eval(), OnDisk()
before = peak = anonymous()
done = threading.Event()
def watch():
    global peak
    while not done.wait(.001):
        peak = max(peak, anonymous())
thread = threading.Thread(target=watch)
thread.start()
if what == "sequence":
    result = encode_sequence(model, features)
    assert result.dense_logits.shape == (count, classes)
elif what == "along":
    starts, found = range(0, count - 63, 32), []
    windows = SharedWindows(model, features.times.indices, starts, 64,
                            lambda start, logits: found.append(start))
    encode_sequence(model, features, windows=windows)
    assert found == list(starts)
else:
    starts = range(0, count - 63, 32)
    assert len(list(encode_windows(model, features, starts=starts, window=64))) == len(starts)
done.set()
thread.join()
print(peak - before, temporal_bound_bytes(count, size, classes))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    ("count", "size", "what"),
    [
        (7_200, 192, "sequence"),
        (21_600, 192, "along"),
        (1_000, 768, "along"),
        pytest.param(21_600, 192, "sequence", marks=pytest.mark.slow),
        pytest.param(7_200, 768, "along", marks=pytest.mark.slow),
        pytest.param(21_600, 192, "windows", marks=pytest.mark.slow),
        pytest.param(21_600, 768, "sequence", marks=pytest.mark.slow),
        pytest.param(100_000, 192, "sequence", marks=pytest.mark.slow),
    ],
)
def test_memory_stays_below_the_stated_bound(count: int, size: int, what: str) -> None:
    """The states alone are N D numbers."""
    command = [sys.executable, "-c", MEASURE, str(count), str(size), "10", what]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    added, limit = map(float, run.stdout.split())
    assert added < limit, f"{added / 1e6:.1f} MB of {limit / 1e6:.1f}"
