"""One ten-second video, decoding included: VTN in one pass over all of it, against the clip
networks of the paper with thirty views, each as published (float32) and in bf16 if the
hardware has it.

Clip networks are those of pytorchvideo, with random weights. ``--views N`` runs N of the thirty
views and multiplies; the table then says so.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import common, machine
from benchmarks.children import Child, Failure, Median, interleave
from benchmarks.videos import camera_video, videos_directory

OURS = "VTN, full video"
NAMES = {
    "slowfast": "SlowFast-R101 16x8, 30 views",
    "nl_i3d": "NL I3D-R50 32x2, 30 views",
    "i3d": "I3D-R50 8x8, 30 views",
}
VIEWS = 30
PAPER = {"slowfast": (60, 6390, 244), "nl_i3d": (54, 2625, 150), "i3d": (28, None, 84)}
"""Millions of parameters, GFLOPs, and minutes for the validation set (Tables 3 and 4). The
paper's NL I3D is not published; the one used here is lighter."""
OUR_MINUTES = 48
"""Minutes of ViT-B-VTN with one layer."""
TIMES_FASTER, TIMES_FASTER_BF16, PAPERS_FACTOR = 12.0, 8.0, 5.1

Found = Mapping[str, Median | Failure]


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    width, height = 340, 256
    video = camera_video(videos_directory(options.directory), 10, width, height)
    result = common.Result(
        "paper",
        {
            "video": video.name,
            "preset": options.preset,
            "views run": f"{options.views} of {VIEWS}",
            "runs": options.runs,
            "device": options.device,
        },
    )
    add_times(result, measure(str(video), options), options.views)
    add_counts(result, options)
    result.deliver(options)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = common.parser("paper", __doc__)
    parser.add_argument("--preset", default="vtn-vit-b")
    parser.add_argument("--networks", default=",".join(NAMES))
    parser.add_argument("--views", type=int, default=VIEWS, help="views that are really run")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--directory", type=Path, help="folder of generated videos")
    return parser.parse_args(arguments)


def contenders(options: argparse.Namespace) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the class and settings of each contender, in both precisions if both are useful."""
    fast = options.device == "cuda" or machine.has_bf16()
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for dtype in ("float32", *(("bfloat16",) if fast else ())):
        shared = {"dtype": dtype, "device": options.device}
        ours = {"preset": options.preset, **shared}
        found[f"{OURS}, {dtype}"] = ("benchmarks.ours:OurClass", ours)
        for network in common.split(options.networks):
            settings = {"network": network, "views": options.views}
            name = f"{NAMES[network]}, {dtype}"
            found[name] = ("benchmarks.peers.clips:ClipPeer", {**settings, **shared})
    return found


def measure(video: str, options: argparse.Namespace) -> Found:
    with contextlib.ExitStack() as stack:
        children = {n: stack.enter_context(Child(*c)) for n, c in contenders(options).items()}
        for name, child in children.items():
            common.say(f"{name}: loading")
            child.call("load")
        common.say("classifying")
        return interleave(children, options.runs, "classify", video=video)


def seconds(outcome: Median, views: int) -> tuple[float, float]:
    """Return the seconds of decoding (peers only; vtnstream overlaps it) and of all thirty views
    or the whole pass."""
    first = outcome.values[0]
    if first is None:
        return 0.0, outcome.wall
    decode = common.median(value["decode"] for value in outcome.values)
    run = common.median(value["views"] for value in outcome.values)
    return decode, decode + run * VIEWS / views


def add_times(result: common.Result, found: Found, views: int) -> None:
    """Add seconds per video, and the speed-up of vtnstream."""
    note = "" if views == VIEWS else f"{views} of {VIEWS} views were run; their time is multiplied."
    table = result.table(
        "Seconds a video of ten seconds, from the file to its class",
        *("contender", "seconds", "decoding alone", "ours is faster by", "paper's factor"),
        note=f"{note} The paper's factor is of validation wall runtime on 8 V100 (Table 3), "
        f"ViT-B-VTN with one layer, {OUR_MINUTES} minutes.".strip(),
    )
    times: dict[str, float] = {}
    for name, outcome in found.items():
        dtype = name.rpartition(", ")[2]
        ours = times.get(f"{OURS}, {dtype}")
        if isinstance(outcome, Failure):
            table.add(f"{name}: cannot run here: {outcome.reason}", *[None] * 4)
            result.broken += [f"{name}: {outcome.reason}"] if name.startswith(OURS) else []
            continue
        decode, times[name] = seconds(outcome, views)
        network = next((n for n, title in NAMES.items() if name.startswith(title)), None)
        faster = times[name] / ours if ours and network else None
        factor = PAPER[network][2] / OUR_MINUTES if network else None
        table.add(name, times[name], decode or None, faster, factor)
    add_targets(result, times)


def add_targets(result: common.Result, times: Mapping[str, float]) -> None:
    """Add targets against SlowFast: vtnstream at its defaults, and both in bf16."""
    theirs, mine = NAMES["slowfast"], OURS
    fastest = times.get(f"{mine}, bfloat16", times.get(f"{mine}, float32"))
    published = times.get(f"{theirs}, float32")
    in_bf16 = (times.get(f"{theirs}, bfloat16"), times.get(f"{mine}, bfloat16"))
    why = "" if in_bf16[1] else "no bf16 units: ours computes in float32"
    why = why if published else "SlowFast was not run"
    result.target(
        "times faster than SlowFast-R101 16x8 with 30 views as published (float32)",
        published / fastest if published and fastest else None,
        TIMES_FASTER,
        why=why,
    )
    result.target(
        "the same with both in bf16",
        in_bf16[0] / in_bf16[1] if in_bf16[0] and in_bf16[1] else None,
        TIMES_FASTER_BF16,
        why=why,
    )


def add_counts(result: common.Result, options: argparse.Namespace) -> None:
    """Add parameters and multiply-adds of the peers, to show that they are the paper's models."""
    table = result.table(
        "The peers, counted: parameters (M) and GFLOPs of 30 views",
        *("network", "parameters", "paper", "GFLOPs", "with attention", "paper"),
    )
    for network in common.split(options.networks):
        with Child("benchmarks.peers.clips:Complexity") as child:
            counted = child.call("count", network=network)
        if isinstance(counted, Failure):
            table.add(f"{NAMES[network]}: {counted.reason}", *[None] * 5)
            continue
        parameters, gflops, _ = PAPER[network]
        value = counted.value
        row = (value["parameters"], parameters, value["gflops"], value["full"], gflops)
        table.add(NAMES[network], *row)
