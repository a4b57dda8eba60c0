"""Kinds of position, trained on short sequences and tested on sequences ten times longer.

Two tasks on synthetic features, each unsolvable without order. *near*: every token is labelled
with what was shown three tokens before it (dense head). *far*: two marks are anywhere in the
sequence; which comes first (class head)? "shuffled" tests the training length with the frames in
random order (paper Table 2b), where no kind should exceed chance.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from benchmarks import common
from benchmarks.learning.models import without_backbone
from vtnstream.config import HeadConfig, ModelConfig, TemporalConfig
from vtnstream.features.shuffling import shuffled
from vtnstream.models.long_sequence.streaming import encode_sequence
from vtnstream.models.vtn.model import VTN
from vtnstream.types import Features, TokenTimes

SYMBOLS, LAG = 4, 3
SIZE = 32
LONGER = 10
KINDS = {
    "rotary": ("rotary", 1),
    "fixed": ("fixed", 1),
    "learned, repeating": ("learned", 1),
    "learned, room for all": ("learned", LONGER),
    "none": ("none", 1),
}
"""Name -> kind of position, and the rows of its table in training lengths."""


@dataclass(frozen=True)
class Task:
    """How sequences are generated, and the accuracy of chance in percent.

    ``make`` returns features (B, T, SIZE) and targets: (B, T) for a dense head, with -100 for
    tokens that are not scored, or (B,) for a class head.
    """

    name: str
    chance: float
    make: Callable[[np.random.Generator, int, int], tuple[np.ndarray, np.ndarray]]


def near(random: np.random.Generator, count: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Generate sequences labelled with what was shown three tokens before."""
    symbols = random.integers(0, SYMBOLS, (count, length))
    targets = np.full((count, length), -100)
    targets[:, LAG:] = symbols[:, :-LAG]
    return _drawn(random, symbols), targets


def far(random: np.random.Generator, count: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Generate sequences with two marks, at least a quarter of the length apart; which comes
    first?"""
    symbols = np.zeros((count, length), np.int64)
    first = random.integers(0, length // 2, count)
    second = first + random.integers(length // 4, length // 2, count)
    swap = random.integers(0, 2, count)
    rows = np.arange(count)
    symbols[rows, first], symbols[rows, second] = 1 + swap, 2 - swap
    return _drawn(random, symbols), swap


def _drawn(random: np.random.Generator, symbols: np.ndarray) -> np.ndarray:
    """Generate symbols as features: a fixed direction for each, and noise."""
    directions = np.random.default_rng(0).standard_normal((SYMBOLS, SIZE))
    noise = 0.3 * random.standard_normal((*symbols.shape, SIZE))
    return np.asarray(directions[symbols] + noise, np.float32)


TASKS = (Task("near", 100 / SYMBOLS, near), Task("far", 50.0, far))


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    result = common.Result("positions", settings={"seeds": options.seeds, "steps": options.steps})
    for task in (task for task in TASKS if not options.only or task.name in options.only):
        table = result.table(
            f"{task.name}: per cent right (chance {task.chance:.0f})",
            *("positions", f"{options.length} tokens", f"{LONGER * options.length} tokens"),
            "shuffled",
            note=f"Trained on {options.length} tokens; mean over {options.seeds} seeds.",
        )
        for name in KINDS:
            scores = [measure(task, name, seed, options) for seed in range(options.seeds)]
            table.add(name, *np.mean(scores, axis=0).tolist())
            common.say(f"{task.name}, {name}: {np.round(scores, 1).tolist()}")
    result.deliver(options)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = common.parser("positions", __doc__)
    parser.add_argument("--length", type=int, default=64, help="tokens trained on [64]")
    parser.add_argument("--steps", type=int, default=600, help="of training [600]")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each kind [3]")
    parser.add_argument("--only", action="append", choices=[task.name for task in TASKS])
    parser.add_argument("--tests", type=int, default=50, help="sequences asked about [50]")
    return parser.parse_args(arguments)


def measure(
    task: Task, kind: str, seed: int, options: argparse.Namespace
) -> tuple[float, float, float]:
    """Return the percentage right at the training length, ten times longer, and shuffled."""
    model = train(task, kind, seed, options)
    random = np.random.default_rng([seed, 1])
    short = list(sequences(task, random, options.tests, options.length))
    long = list(sequences(task, random, options.tests, LONGER * options.length))
    mixed = [(shuffled(features, n), target) for n, (features, target) in enumerate(short)]
    return score(model, short), score(model, long), score(model, mixed)


def train(task: Task, kind: str, seed: int, options: argparse.Namespace) -> VTN:
    """Train a small model; return it in evaluation mode."""
    torch.manual_seed(seed)
    model = build(task, kind, options.length).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=options.steps)
    random = np.random.default_rng([seed, 0])
    for _ in range(options.steps):
        features, targets = task.make(random, 16, options.length)
        output = model.forward_features(torch.from_numpy(features))
        wanted = torch.from_numpy(targets)
        if wanted.ndim == 2:
            assert output.dense_logits is not None
            loss = functional.cross_entropy(output.dense_logits.flatten(0, 1), wanted.flatten())
        else:
            assert output.logits is not None
            loss = functional.cross_entropy(output.logits, wanted)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def build(task: Task, kind: str, length: int) -> VTN:
    """Build two layers over given features."""
    positions, room = KINDS[kind]
    labels = tuple(map(str, range(SYMBOLS))) if task.make is near else ("first", "second")
    head = HeadConfig(dense_labels=labels) if task.make is near else HeadConfig(labels=labels)
    temporal = TemporalConfig(
        num_layers=2,
        num_heads=4,
        hidden_size=64,
        intermediate_size=128,
        attention_window=(16,),
        positions=positions,
        max_positions=room * length + 2,
        dropout=0.0,
        attention_dropout=0.0,
    )
    return without_backbone(ModelConfig(temporal=temporal, head=head), SIZE)


def sequences(
    task: Task, random: np.random.Generator, count: int, length: int
) -> Iterator[tuple[Features, np.ndarray]]:
    """Generate test sequences with their targets."""
    for _ in range(count):
        features, targets = task.make(random, 1, length)
        indices = np.arange(length)
        seconds = indices / 2.0
        yield Features(features[0], TokenTimes(indices, indices, seconds, seconds + 0.5)), targets


def score(model: VTN, asked: list[tuple[Features, np.ndarray]]) -> float:
    """Return the percentage right, through the inference of every command."""
    right = count = 0
    for features, targets in asked:
        output = encode_sequence(model, features)
        found = output.logits if output.dense_logits is None else output.dense_logits
        assert found is not None
        answers = np.atleast_2d(found.argmax(-1))
        real = targets.reshape(answers.shape) >= 0
        right += int(((answers == targets.reshape(answers.shape)) & real).sum())
        count += int(real.sum())
    return 100 * right / count
