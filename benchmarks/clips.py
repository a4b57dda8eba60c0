"""Features of many short videos: a worker of ``vtnstream batch extract`` against scripts in the
manner of video_features, which load the model once and write one file of features per video.

Every contender has a process of its own and the same random weights; warm passes alternate, and
the tables give their median. Decoding and backbone are measured alone in the same processes, right
after each pass; what a video costs beyond them is the processor time of a pass without theirs. The
last row is the whole command, with start-up, in a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks import commands, common
from benchmarks.children import MEGABYTE, Child, Failure, Limits, Median, interleave_methods
from benchmarks.throughput import OUR_FOLDER, STAGE_FRAMES, empty_caches, read_features
from benchmarks.videos import camera_clips, videos_directory
from vtnstream.types import FloatArray

OURS, OURS_ALONE = "vtnstream", "vtnstream, one video at a time"
COMMAND = "vtnstream batch extract, whole command"
MOST_BEYOND = 10.0
"""Milliseconds of processor time for a video beyond decoding and backbone."""
DEFAULTS = {2.0: 200, 10.0: 50}
"""Seconds of a clip -> number of clips."""


@dataclass(frozen=True)
class Runs:
    """Measurements of one contender over all clips."""

    computes: str
    whole: Median
    decode: Median | Failure
    backbone: Median | Failure
    features: dict[str, FloatArray]
    """Features (T, D) by the name of the clip."""

    @property
    def frames(self) -> int:
        return sum(map(len, self.features.values()))

    @property
    def beyond(self) -> float | None:
        """Seconds of processor time beyond decoding and backbone, for all clips."""
        if isinstance(self.decode, Failure) or isinstance(self.backbone, Failure):
            return None
        backbone = self.backbone.cpu * self.frames / STAGE_FRAMES
        return self.whole.cpu - self.decode.cpu - backbone


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    settings = {"backbone": options.backbone, "frames/s": options.fps, "runs": options.runs}
    result = common.Result("clips", settings)
    for seconds, count in lengths(options).items():
        common.say(f"making {count} clips of {seconds:g} s")
        clips = camera_clips(videos_directory(options.directory), count, seconds)
        with tempfile.TemporaryDirectory() as scratch:
            found = measure([str(clip) for clip in clips], options, Path(scratch))
        command = whole_command([str(clip) for clip in clips], options)
        report(result, f"{count} clips of {seconds:g} s", found, command, count)
        result.keep(options)
    result.deliver(options)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = common.parser("clips", __doc__)
    parser.add_argument("--clips", type=int, help="number of clips [200 of 2 s, 50 of 10 s]")
    parser.add_argument("--seconds", type=float, help="length of a clip [2 and 10]")
    parser.add_argument("--fps", default="2", help="sampled frames a second")
    parser.add_argument("--backbone", default="deit_tiny_patch16_224")
    parser.add_argument("--peers", default="opencv,torchcodec")
    parser.add_argument("--manners", default="user,expert", help="user, expert")
    parser.add_argument("--runs", type=int, default=3, help="warm passes of each contender")
    parser.add_argument("--limit", type=float, default=900, help="seconds of a peer's call")
    parser.add_argument("--no-compile", action="store_true", help="nobody compiles anything")
    parser.add_argument("--directory", type=Path, help="folder of generated videos")
    return parser.parse_args(arguments)


def lengths(options: argparse.Namespace) -> dict[float, int]:
    """Return the lengths of clips to measure, and how many of each."""
    if options.clips is None and options.seconds is None:
        return DEFAULTS
    seconds = 2.0 if options.seconds is None else options.seconds
    return {seconds: options.clips or DEFAULTS.get(seconds, 100)}


def contenders(options: argparse.Namespace, scratch: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the class and settings of each contender."""
    ours, script = "benchmarks.ours_clips:OurClips", "benchmarks.peers.clip_scripts:ClipScript"
    found: dict[str, tuple[str, dict[str, Any]]] = {
        OURS: (ours, {}),
        OURS_ALONE: (ours, {"together": False}),
    }
    for manner in common.split(options.manners):
        for reader in common.split(options.peers):
            found[f"{reader} + timm, {manner}"] = (script, {"reader": reader, "manner": manner})
    for number, (kind, settings) in enumerate(found.values()):
        settings.update(
            backbone=options.backbone,
            weights=str(scratch / (OUR_FOLDER if kind == ours else "weights.pt")),
            rate=options.fps,
            output=str(scratch / f"features-{number}"),
            compiled=not options.no_compile,
        )
    return found


def measure(
    clips: list[str], options: argparse.Namespace, scratch: Path
) -> dict[str, Runs | Failure]:
    """Run all passes of all contenders over the clips."""
    write_weights(options, scratch)
    every = contenders(options, scratch)
    with contextlib.ExitStack() as stack:
        limits = {n: None if n.startswith(OURS) else Limits(options.limit) for n in every}
        children = {
            name: stack.enter_context(Child(*parts, empty_caches(scratch, number), limits[name]))
            for number, (name, parts) in enumerate(every.items())
        }
        ready = {}
        for name, child in children.items():
            common.say(f"{name}: model, compiling, a first pass")
            ready[name] = child.call("load")
            child.call("extract_all", videos=clips)
        common.say(f"{options.runs} warm passes of each, and its stages alone")
        methods: dict[str, dict[str, Any]] = {
            "extract_all": {"videos": clips},
            "decode_all": {"videos": clips},
            "backbone": {"count": STAGE_FRAMES},
        }
        whole, decode, stage = interleave_methods(children, options.runs, methods).values()
    found: dict[str, Runs | Failure] = {}
    for name, (_, parts) in every.items():
        first, passes = ready[name], whole[name]
        if isinstance(first, Failure) or isinstance(passes, Failure):
            found[name] = first if isinstance(first, Failure) else cast(Failure, passes)
            continue
        features = features_in(Path(parts["output"]))
        found[name] = Runs(first.value, passes, decode[name], stage[name], features)
    return found


def write_weights(options: argparse.Namespace, scratch: Path) -> None:
    """Write the same random weights as a state dict and as a model folder.

    Raises:
        SystemExit: there is no such backbone.
    """
    weights, folder = str(scratch / "weights.pt"), str(scratch / OUR_FOLDER)
    with Child("benchmarks.peers.features:RandomWeights") as child:
        made = child.call("write", backbone=options.backbone, path=weights)
    if isinstance(made, Failure):
        raise SystemExit(f"{options.backbone}: {made.reason}")
    with Child("benchmarks.ours:OurFolder") as child:
        model = {"backbone": options.backbone, "rate": options.fps}
        child.call("write", **model, weights=weights, folder=folder)


def features_in(folder: Path) -> dict[str, FloatArray]:
    """Read the features that a contender wrote, by the name of the clip."""
    files = [*folder.glob("*.npy"), *folder.glob("*.safetensors")]
    return {file.stem: read_features(file) for file in sorted(files)}


def whole_command(clips: list[str], options: argparse.Namespace) -> commands.Command:
    """Measure ``vtnstream batch extract`` with start-up: medians of the wall and CPU seconds."""
    done = []
    for number in range(options.runs):
        common.say(f"{COMMAND}: run {number + 1}")
        with tempfile.TemporaryDirectory() as scratch:
            place = Path(scratch)
            write_weights(options, place)
            names = place / "names"
            names.write_text("\n".join(clips) + "\n", encoding="utf-8")
            batch = (*commands.VTNSTREAM, "batch", "extract", "--files-from", names)
            arguments = ("--model", place / OUR_FOLDER, "-o", place / "out", "-q")
            backend = ("--backend", "eager") if options.no_compile else ()
            cache = {"VTNSTREAM_CACHE_DIR": str(place / "cache")}
            done.append(commands.run([*batch, *arguments, *backend], cache))
    return commands.Command(
        common.median(each.wall for each in done),
        common.median(each.cpu for each in done),
        max(each.peak for each in done),
        "",
    )


def report(
    result: common.Result,
    title: str,
    found: Mapping[str, Runs | Failure],
    command: commands.Command,
    count: int,
) -> None:
    """Add the table and the targets of one length of clips."""
    table = result.table(
        title,
        *("contender", "computes in", "frames", "wall s", "CPU s", "wall ms a clip"),
        *("CPU ms a clip", "CPU ms a clip beyond decoding and backbone", "peak MB"),
        *("least cosine to ours", "ours is faster by"),
        note="Peak: largest resident memory of the process during the passes.",
    )
    first = found[OURS]
    ours = None if isinstance(first, Failure) else first
    for name, runs in found.items():
        if isinstance(runs, Failure):
            table.add(name, f"cannot run here: {runs.reason}", *[None] * 9)
            result.broken += [f"{name}: {runs.reason}"] if name == OURS else []
            continue
        whole, beyond = runs.whole, runs.beyond
        table.add(
            *(name, runs.computes, runs.frames, whole.wall, whole.cpu, 1000 * whole.wall / count),
            1000 * whole.cpu / count,
            None if beyond is None else 1000 * beyond / count,
            whole.peak / MEGABYTE,
            agreement(ours, runs),
            None if ours is None else whole.wall / ours.whole.wall,
        )
    table.add(
        *(COMMAND, "", None, command.wall, command.cpu, 1000 * command.wall / count),
        *(1000 * command.cpu / count, None, command.peak / MEGABYTE, None, None),
    )
    if ours is not None and ours.beyond is not None:
        what = f"{title}: CPU ms a clip beyond decoding and backbone"
        result.target(what, 1000 * ours.beyond / count, MOST_BEYOND, at_most=True)


def agreement(ours: Runs | None, theirs: Runs) -> float | None:
    """Return the smallest cosine between two contenders' features of a frame."""
    if ours is None or ours.features.keys() != theirs.features.keys():
        return None
    pairs = [(ours.features[name], theirs.features[name]) for name in ours.features]
    if any(one.shape != other.shape for one, other in pairs):
        return None
    return min(
        float(
            (
                (one * other).sum(1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1))
            ).min()
        )
        for one, other in pairs
    )
