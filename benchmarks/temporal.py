"""The temporal encoder on N tokens: vtnstream against transformers' Longformer (the same
weights) and an encoder with full attention.

First N = 1k to 1M: each contender and length has a process of its own, so that memory is that of
the length alone; a peer stops at the first N beyond 60 s or half the memory. Then 7,200 tokens
(an hour at 2 frames/s) with narrow and wide windows, in float32 and, if the hardware has it,
bf16. Runs of all contenders alternate. Memory is what one run adds to the loaded model.
"""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import common, machine
from benchmarks.children import MEGABYTE, Child, Failure, Limits, Median, interleave
from vtnstream.cli.framework.process_settings import SPIN_COUNT

OURS = "vtnstream"
PEERS = {"Longformer": "transformers Longformer", "FullAttention": "full attention"}
PEER_SECONDS = 60.0
WARM_UP = 512
"""Tokens of a first run that is not counted: libraries allocate and start threads once."""

MANY = 20_000
"""Fewest tokens for which one run is enough."""

FIT_FROM = 8_000
"""Fewest tokens used to fit the exponent: with fewer, fixed costs of a call would lower it."""

HOUR = 7_200
TIMES_FASTER = {32: {"float32": 2.0, "bfloat16": 3.0}, 512: {"float32": 3.5, "bfloat16": 8.0}}
TIMES_FASTER_AS_RUN = 5.0
MOST_MEMORY, MOST_EXPONENT = 0.25, 1.05

Found = dict[str, Median | Failure]


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    shape = {
        "hidden_size": options.hidden_size,
        "layers": options.layers,
        "heads": options.heads,
        "device": options.device,
    }
    result = common.Result("temporal", {**shape, "runs": options.runs})
    sizes = [int(size) for size in common.split(options.sizes)]
    if sizes:
        add_curve(result, {**shape, "window": 32}, sizes, options.runs)
        result.notes.append(f"{OURS}: on a CPU, states of more than 2 GiB lie on disk")
        result.keep(options)
    for window in (int(window) for window in common.split(options.windows)):
        add_hour(result, {**shape, "window": window}, options)
        result.keep(options)
    result.deliver(options)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = common.parser("temporal", __doc__)
    parser.add_argument("--sizes", default="1000,3000,10000,30000,100000,300000,1000000")
    parser.add_argument("--windows", default="32,512", help="attention windows of the second part")
    parser.add_argument("--tokens", type=int, default=HOUR, help="tokens of the second part")
    parser.add_argument("--hidden-size", type=int, default=768)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    return parser.parse_args(arguments)


Contenders = Mapping[str, tuple[str, Mapping[str, Any]]]
"""Name -> class in ``benchmarks.sequences`` and its settings."""


def measure(contenders: Contenders, count: int, runs: int) -> Found:
    """Run all contenders in turn, ``runs`` times on ``count`` tokens, after a short run that is
    not counted."""
    common.say(f"{count:,} tokens: {', '.join(contenders)}")
    limits = Limits(PEER_SECONDS, machine.memory_bytes() / 2)
    with contextlib.ExitStack() as stack:
        children = {
            name: stack.enter_context(
                Child(
                    f"benchmarks.sequences:{kind}",
                    settings,
                    # As the command does, before torch is imported.
                    extra={"GOMP_SPINCOUNT": SPIN_COUNT} if name.startswith(OURS) else None,
                    limits=None if name.startswith(OURS) else limits,
                )
            )
            for name, (kind, settings) in contenders.items()
        }
        for child in children.values():
            child.call("run", count=min(count, WARM_UP))
        return interleave(children, runs, "run", count=count)


def add_curve(
    result: common.Result, settings: Mapping[str, Any], sizes: Sequence[int], runs: int
) -> None:
    """Measure time and memory against N until each peer stops, and fit the exponents of time."""
    contenders = {OURS: ("Ours", settings)}
    contenders |= {name: (kind, settings) for kind, name in PEERS.items()}
    table = result.table(
        f"Classification of N tokens, D = {settings['hidden_size']}, w = {settings['window']}, "
        "float32",
        *("N", "contender", "seconds", "CPU s", "MB added", "logits differ by"),
    )
    curves: dict[str, list[tuple[int, float]]] = {name: [] for name in contenders}
    for count in sizes:
        found = measure(contenders, count, runs if count < MANY else 1)
        for name, outcome in found.items():
            if isinstance(outcome, Failure):
                table.add(count, f"{name} ends here: {outcome.reason}", *[None] * 4)
                result.broken += [f"{name}: {outcome.reason}"] if name == OURS else []
                del contenders[name]
                continue
            curves[name].append((count, outcome.wall))
            row = (outcome.wall, outcome.cpu, outcome.added / MEGABYTE)
            table.add(count, name, *row, difference(found, name))
    fits = result.table(
        "Exponent of time against N", "contender", "fitted from N", "to", "exponent"
    )
    for name, points in curves.items():
        fitted = exponent(points)
        if fitted is not None:
            fits.add(name, *fitted)
    ours = exponent(curves[OURS])
    why = "" if ours else f"needs two lengths from {FIT_FROM:,}"
    measured = ours[2] if ours else None
    result.target(f"{OURS}: exponent of time", measured, MOST_EXPONENT, at_most=True, why=why)


def exponent(points: Sequence[tuple[int, float]]) -> tuple[int, int, float] | None:
    """Return the first and last N of the fit, and the slope of log time over log N."""
    used = [(n, seconds) for n, seconds in points if n >= FIT_FROM]
    if len(used) < 2:
        return None
    x, y = ([math.log(pair[i]) for pair in used] for i in (0, 1))
    middle_x, middle_y = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True))
    return used[0][0], used[-1][0], slope / sum((a - middle_x) ** 2 for a in x)


def difference(found: Found, name: str) -> float | None:
    """Return the largest difference of a logit from vtnstream's, for contenders with its
    weights."""
    ours, theirs = found.get(OURS), found[name]
    if name == PEERS["FullAttention"] or name == OURS:
        return None
    if not isinstance(ours, Median) or not isinstance(theirs, Median):
        return None
    pairs = zip(ours.values[0], theirs.values[0], strict=True)
    return max(float(abs(mine - other)) for mine, other in pairs)


def add_hour(
    result: common.Result, settings: Mapping[str, Any], options: argparse.Namespace
) -> None:
    """Measure one length with vtnstream and Longformer, in both precisions."""
    window, fast = settings["window"], options.device == "cuda" or machine.has_bf16()
    dtypes = ["float32", *(["bfloat16"] if fast else [])]
    contenders = {
        f"{who}, {dtype}": (kind, {**settings, "dtype": dtype})
        for dtype in dtypes
        for who, kind in ((OURS, "Ours"), (PEERS["Longformer"], "Longformer"))
    }
    found = measure(contenders, options.tokens, options.runs)
    table = result.table(
        f"{options.tokens:,} tokens, D = {settings['hidden_size']}, {settings['layers']} layers, "
        f"w = {window}",
        *("contender", "seconds", "CPU s", "MB added"),
    )
    for name, outcome in found.items():
        if isinstance(outcome, Failure):
            table.add(f"{name}: {outcome.reason}", None, None, None)
            result.broken += [f"{name}: {outcome.reason}"] if name.startswith(OURS) else []
        else:
            table.add(name, outcome.wall, outcome.cpu, outcome.added / MEGABYTE)
    why = "" if fast else "no bf16 units"
    for dtype, bound in TIMES_FASTER.get(window, {}).items():
        versus(result, found, window, (dtype, dtype), bound, why if dtype != "float32" else "")
    if window in TIMES_FASTER:
        versus(result, found, window, ("bfloat16", "float32"), TIMES_FASTER_AS_RUN, why)
    ours, theirs = found[f"{OURS}, float32"], found[f"{PEERS['Longformer']}, float32"]
    if isinstance(ours, Median) and isinstance(theirs, Median):
        what = f"w = {window}: memory added, share of transformers', float32"
        result.target(what, ours.added / max(theirs.added, 1), MOST_MEMORY, at_most=True)


def versus(
    result: common.Result,
    found: Found,
    window: int,
    dtypes: tuple[str, str],
    bound: float,
    why: str,
) -> None:
    """Compare vtnstream in the first dtype with transformers in the second."""
    ours = found.get(f"{OURS}, {dtypes[0]}")
    theirs = found.get(f"{PEERS['Longformer']}, {dtypes[1]}")
    faster = None
    if isinstance(ours, Median) and isinstance(theirs, Median):
        faster = theirs.wall / ours.wall
    words = dtypes[0] if dtypes[0] == dtypes[1] else f"ours {dtypes[0]}, theirs {dtypes[1]}"
    result.target(f"w = {window}: times faster than transformers', {words}", faster, bound, why=why)
