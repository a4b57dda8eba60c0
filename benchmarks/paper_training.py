"""Training time of the VTN against SlowFast-R101 16x8.

It is the time of a step (forward, backward, update) per clip, both measured in this run, times
the epochs of the published training. The paper compares whole epochs on 8 V100, reading and
decoding included (Table 3): 220 minutes x 196 against 107 minutes x 25. Clips are in memory
here, so decoding is not counted for either; weights are random, which does not change the time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from typing import Any

from benchmarks import common
from benchmarks.children import Child, Failure, Median, interleave

OURS, THEIRS = "VTN ViT-B, 1 layer, 16 frames", "SlowFast-R101 16x8"
EPOCHS = {OURS: 25, THEIRS: 196}
MINUTES = {OURS: 107, THEIRS: 220}
"""Minutes of one epoch on 8 V100 (paper, Table 3)."""
PAPERS_FACTOR = 16.1


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    result = common.Result(
        "paper_training",
        {
            "preset": options.preset,
            "clips a step": options.clips,
            "pictures": f"{options.size} x {options.size}",
            "runs": options.runs,
            "precision": options.precision,
            "device": options.device,
        },
    )
    add_times(result, measure(options))
    result.deliver(options)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = common.parser("paper_training", __doc__)
    parser.add_argument("--preset", default="vtn-vit-b-1l")
    parser.add_argument("--frames", type=int, default=16, help="of our clips")
    parser.add_argument("--slowfast-frames", type=int, default=0, help="for trials; 0 is its 64")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--clips", type=int, default=1, help="of a step")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--set", default="{}", help="JSON of more keys of our recipe, for trials")
    return parser.parse_args(arguments)


def contenders(options: argparse.Namespace) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the class and settings of each contender."""
    shared = {
        "size": options.size,
        "clips": options.clips,
        "device": options.device,
        "precision": options.precision,
    }
    ours = {"preset_name": options.preset, "frames": options.frames}
    theirs = {"network": "slowfast", "frames": options.slowfast_frames}
    return {
        OURS: (
            "benchmarks.steps:OurStep",
            {**ours, "overrides": json.loads(options.set), **shared},
        ),
        THEIRS: ("benchmarks.steps:PeerStep", {**theirs, **shared}),
    }


def measure(options: argparse.Namespace) -> dict[str, Median | Failure]:
    with contextlib.ExitStack() as stack:
        children = {n: stack.enter_context(Child(*c)) for n, c in contenders(options).items()}
        for name, child in children.items():
            common.say(f"{name}: first step, not counted")
            child.call("step")
        common.say("training")
        return interleave(children, options.runs, "step")


def add_times(result: common.Result, found: dict[str, Median | Failure]) -> None:
    """Add seconds per clip, and the whole training as a multiple of vtnstream's."""
    table = result.table(
        "Time of training: one step per clip, times the published epochs",
        *("network", "seconds a clip", "epochs", "together", "paper: minutes an epoch", "together"),
        note="An epoch is the same clips for both; `together` is seconds a clip x epochs, and the "
        "paper's minutes x epochs.",
    )
    seconds: dict[str, float] = {}
    for name, outcome in found.items():
        epochs, minutes = EPOCHS[name], MINUTES[name]
        if isinstance(outcome, Failure):
            table.add(f"{name}: cannot run here: {outcome.reason}", *[None] * 5)
            result.broken += [f"{name}: {outcome.reason}"] if name == OURS else []
            continue
        seconds[name] = common.median(outcome.values)
        row = (seconds[name], epochs, seconds[name] * epochs, minutes, minutes * epochs)
        table.add(name, *row)
    if len(seconds) < 2:
        result.target("times faster to train", None, PAPERS_FACTOR, why="SlowFast did not run")
        return
    step = seconds[THEIRS] / seconds[OURS]
    whole = step * EPOCHS[THEIRS] / EPOCHS[OURS]
    ratios = result.table("How many times faster ours is", "of", "here", "paper")
    ratios.add("one epoch", step, MINUTES[THEIRS] / MINUTES[OURS])
    ratios.add("the whole training", whole, PAPERS_FACTOR)
    result.target("times faster to train, published epochs", whole, PAPERS_FACTOR)
