"""Features of one video, from opening it to the last feature on disk: vtnstream against what
users and experts write with OpenCV, torchcodec or PyAV and timm.

Every contender has a process of its own, empty caches and the same random weights. Cold counts
its imports, the model, compiling and a first pass; warm passes of all contenders alternate, and
the table gives their median. ``user`` is float32 and eager; ``expert`` is bf16 if the hardware
has it, channels last, compiled if that is faster, and reads ahead in a thread. Memory is the
largest of the warm passes, with the model loaded; beside it that of the cold part.

Share of the limit = (CPU seconds of decoding alone + of the backbone alone) / (wall x cores),
each the least that any contender needed in this run.
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

from benchmarks import common, machine
from benchmarks.children import (
    MEGABYTE,
    Child,
    Failure,
    Limits,
    Measurement,
    Median,
    interleave,
)
from benchmarks.videos import camera_video, videos_directory
from vtnstream.types import FloatArray

OURS = "vtnstream"
OURS_FLOAT32 = "vtnstream --dtype float32"
BASELINE = ["torch", "timm"]
"""Imports above which memory is counted."""

TIMES_FASTER = {"deit_tiny_patch16_224": (3.5, 1.8), "vit_base_patch16_224": (4.0, 1.1)}
"""Targets: speed relative to the fastest user's float32, and to the fastest expert's bf16."""
MOST_MEMORY, LEAST_SHARE = 0.5, 0.85

OUR_FOLDER = "model"

STAGE_FRAMES = 32
"""Frames for the backbone alone; its seconds are scaled to the length of the video."""


@dataclass(frozen=True)
class Runs:
    """Measurements of one contender."""

    computes: str
    """Its dtype and backend, as it reports them."""
    cold: float
    warm: Median
    decode: Median | Failure
    backbone: Median | Failure
    cold_peak: int
    features: FloatArray

    @property
    def frames(self) -> int:
        return len(self.features)


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    directory = videos_directory(options.directory)
    video = options.video or camera_video(directory, options.seconds)
    settings = {"video": video.name, "frames/s": options.fps, "runs": options.runs}
    result = common.Result("throughput", settings | {"device": options.device})
    with Child("benchmarks.child:Imports") as child:
        child.call("load", modules=BASELINE)
        baseline = child.peak
    for backbone in common.split(options.backbones):
        with tempfile.TemporaryDirectory() as scratch:
            found = measure(backbone, str(video), options, Path(scratch))
        if isinstance(found, Failure):
            result.broken.append(f"{backbone}: {found.reason}")
            continue
        report(result, backbone, found, baseline)
        result.keep(options)
    result.deliver(options)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = common.parser("throughput", __doc__)
    parser.add_argument("--video", type=Path, help="a video of yours [a generated one of 720p]")
    parser.add_argument("--seconds", type=float, default=45, help="length of the generated video")
    parser.add_argument("--fps", default="2", help="sampled frames a second")
    parser.add_argument(
        "--backbones", default="deit_tiny_patch16_224,vit_base_patch16_224,resnet50"
    )
    parser.add_argument("--peers", default="opencv,torchcodec,pyav")
    parser.add_argument("--manners", default="user,expert", help="user, expert; nvdec on a GPU")
    parser.add_argument("--runs", type=int, default=3, help="warm passes of each contender")
    parser.add_argument("--limit", type=float, default=900, help="seconds of a peer's call")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--no-compile", action="store_true", help="nobody compiles anything")
    parser.add_argument("--directory", type=Path, help="folder of generated videos")
    return parser.parse_args(arguments)


def contenders(
    backbone: str, scratch: Path, options: argparse.Namespace
) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the class and settings of each contender."""
    shared = {"backbone": backbone, "weights": str(scratch / "weights.pt"), "rate": options.fps}
    shared["device"] = options.device
    ours, peer = "benchmarks.ours:OurFeatures", "benchmarks.peers.features:FeaturePeer"
    compiled = {"compiled": not options.no_compile}
    found: dict[str, tuple[str, dict[str, Any]]] = {OURS: (ours, {**compiled})}
    if machine.has_bf16() or options.device == "cuda":
        found[OURS_FLOAT32] = (ours, {"dtype": "float32", **compiled})
    for manner in common.split(options.manners):
        for reader in common.split(options.peers):
            if manner == "nvdec" and reader != "torchcodec":
                continue
            own = {"reader": reader, "manner": manner, **compiled}
            found[f"{reader} + timm, {manner}"] = (peer, own)
    for number, (kind, settings) in enumerate(found.values()):
        suffix = "safetensors" if kind == ours else "npy"
        settings.update(shared, output=str(scratch / f"{number}.{suffix}"))
        if kind == ours:
            settings["weights"] = str(scratch / OUR_FOLDER)
    return found


def measure(
    backbone: str, video: str, options: argparse.Namespace, scratch: Path
) -> dict[str, Runs | Failure] | Failure:
    """Run all passes of all contenders over one video with one backbone; a failure if there is
    no such backbone."""
    with Child("benchmarks.peers.features:RandomWeights") as child:
        made = child.call("write", backbone=backbone, path=str(scratch / "weights.pt"))
        if isinstance(made, Failure):
            return made
    with Child("benchmarks.ours:OurFolder") as child:
        files = {"weights": str(scratch / "weights.pt"), "folder": str(scratch / OUR_FOLDER)}
        made = child.call("write", backbone=backbone, rate=options.fps, **files)
        if isinstance(made, Failure):
            return made
    every = contenders(backbone, scratch, options)
    with contextlib.ExitStack() as stack:
        limits = {n: None if n.startswith(OURS) else Limits(options.limit) for n in every}
        children = {
            name: stack.enter_context(Child(*parts, empty_caches(scratch, number), limits[name]))
            for number, (name, parts) in enumerate(every.items())
        }
        cold: dict[str, tuple[Measurement, Measurement] | Failure] = {}
        for name, child in children.items():
            common.say(f"{backbone}: {name}, cold")
            cold[name] = _cold(child, video)
        common.say(f"{backbone}: {options.runs} warm passes of each")
        warm = interleave(children, options.runs, "extract", video=video)
        common.say(f"{backbone}: its stages alone")
        decode = interleave(children, options.runs, "decode", video=video)
        stage = interleave(children, options.runs, "backbone", count=STAGE_FRAMES)
        found: dict[str, Runs | Failure] = {}
        for name in children:
            first, passes = cold[name], warm[name]
            if isinstance(first, Failure) or isinstance(passes, Failure):
                found[name] = first if isinstance(first, Failure) else cast(Failure, passes)
                continue
            found[name] = Runs(
                computes=first[0].value,
                cold=first[0].wall + first[1].wall,
                warm=passes,
                decode=decode[name],
                backbone=stage[name],
                cold_peak=max(each.peak for each in first),
                features=read_features(Path(every[name][1]["output"])),
            )
        return found


def empty_caches(scratch: Path, number: int) -> dict[str, str]:
    """Return the environment of empty cache folders, so that no contender finds code compiled by
    another one or by an earlier run."""
    place = scratch / f"caches-{number}"
    return {
        "VTNSTREAM_CACHE_DIR": str(place / "vtnstream"),
        "TORCHINDUCTOR_CACHE_DIR": str(place / "inductor"),
        "TRITON_CACHE_DIR": str(place / "triton"),
    }


def _cold(child: Child, video: str) -> tuple[Measurement, Measurement] | Failure:
    """Measure imports, model and compiling; then a first pass."""
    ready = child.call("load")
    first = child.call("extract", video=video)
    if isinstance(ready, Failure):
        return ready
    return first if isinstance(first, Failure) else (ready, first)


def read_features(path: Path) -> FloatArray:
    """Read the features (T, D) that a contender wrote."""
    if path.suffix == ".npy":
        values: FloatArray = np.load(path)
        return values
    from safetensors.numpy import load_file

    return load_file(path)["features"]


def report(
    result: common.Result, backbone: str, found: Mapping[str, Runs | Failure], baseline: int
) -> None:
    """Add the tables and targets of one backbone."""
    ran = {name: runs for name, runs in found.items() if isinstance(runs, Runs)}
    table = result.table(
        f"{backbone}: video to features on disk",
        *("contender", "computes in", "frames", "warm s", "CPU s", "frames/s", "cold s"),
        *("MB above imports", "MB cold", "least cosine to ours", "ours is faster by"),
        note=f"A process that imported only {' and '.join(BASELINE)}: "
        f"{baseline / MEGABYTE:,.0f} MB.",
    )
    ours = ran.get(OURS)
    for name, runs in found.items():
        if isinstance(runs, Failure):
            table.add(name, f"cannot run here: {runs.reason}", *[None] * 9)
            result.broken += [f"{name}: {runs.reason}"] if name == OURS else []
            continue
        table.add(
            *(name, runs.computes, runs.frames, runs.warm.wall, runs.warm.cpu),
            *(runs.frames / runs.warm.wall, runs.cold, (runs.warm.peak - baseline) / MEGABYTE),
            (runs.cold_peak - baseline) / MEGABYTE,
            agreement(ours, runs),
            None if ours is None else runs.warm.wall / ours.warm.wall,
        )
    stages(result, backbone, ran)
    if ours is not None:
        add_targets(result, backbone, ours, ran, baseline)


def agreement(ours: Runs | None, theirs: Runs) -> float | None:
    """Return the smallest cosine between two contenders' features of a frame, to check that they
    do the same work."""
    if ours is None or ours.features.shape != theirs.features.shape:
        return None
    norms = np.linalg.norm(ours.features, axis=1) * np.linalg.norm(theirs.features, axis=1)
    return float(((ours.features * theirs.features).sum(axis=1) / norms).min())


def stages(result: common.Result, backbone: str, ran: Mapping[str, Runs]) -> None:
    """Add the CPU seconds of decoding alone and of the backbone alone, for the whole video."""
    table = result.table(
        f"{backbone}: stages alone, CPU seconds",
        *("contender", "decode", "backbone"),
        note=f"Backbone: {STAGE_FRAMES} frames, scaled to all. Ours decodes to the model's size, "
        "peers to whole frames.",
    )
    for name, runs in ran.items():
        table.add(name, *stage_seconds(runs))


def stage_seconds(runs: Runs) -> tuple[float | None, float | None]:
    decode = None if isinstance(runs.decode, Failure) else runs.decode.cpu
    if isinstance(runs.backbone, Failure):
        return decode, None
    return decode, runs.backbone.cpu * runs.frames / STAGE_FRAMES


def add_targets(
    result: common.Result, backbone: str, ours: Runs, ran: Mapping[str, Runs], baseline: int
) -> None:
    users = {name: runs for name, runs in ran.items() if name.endswith("user")}
    experts = {n: r for n, r in ran.items() if n.endswith(("expert", "nvdec"))}
    for manner, rivals, index in (("user", users, 0), ("expert", experts, 1)):
        if backbone not in TIMES_FASTER or not rivals:
            continue
        name, best = min(rivals.items(), key=lambda item: item[1].warm.wall)
        faster: float | None = best.warm.wall / ours.warm.wall
        why = "" if "bfloat16" in ours.computes else "ours computes in float32: no bf16 units"
        if manner == "expert" and "bfloat16" not in best.computes:
            faster, why = None, f"no bf16 units; as run in float32 {faster:.2f}"
        what = f"{backbone}: times faster than the fastest {manner} ({name})"
        result.target(what, faster, TIMES_FASTER[backbone][index], why=why)
    if users:
        name, best = min(users.items(), key=lambda item: item[1].warm.wall)
        share = (ours.warm.peak - baseline) / max(best.warm.peak - baseline, 1)
        what = f"{backbone}: memory above imports, share of the fastest user's ({name})"
        result.target(what, share, MOST_MEMORY, at_most=True)
    reached = limit_share(ours, ran)
    why = "a stage alone was not measured" if reached is None else ""
    if result.settings.get("device") == "cuda":
        reached, why = None, "processor time is no limit of a GPU: see the benchmark cuda"
    result.target(f"{backbone}: share of the limit", reached, LEAST_SHARE, why=why)


def limit_share(ours: Runs, ran: Mapping[str, Runs]) -> float | None:
    """Return vtnstream's share of the limit: the smallest CPU time of any contender on all
    cores, divided by its wall time."""
    seconds = [stage_seconds(runs) for runs in ran.values()]
    decode = [decode for decode, _ in seconds if decode is not None]
    backbone = [backbone for _, backbone in seconds if backbone is not None]
    if not decode or not backbone:
        return None
    return (min(decode) + min(backbone)) / (ours.warm.wall * machine.cores())
