"""Benchmarks on a CUDA GPU.

Backbones are compared with the bf16 matrix ceiling measured in the same run, NVDEC with software
decoding, and an hour of 1080p25 H.264 is measured from the file to features on disk. Without a
GPU nothing is measured. The other benchmarks take ``--device cuda``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import common, machine
from benchmarks.children import MEGABYTE, Child, Failure, Measurement, interleave
from benchmarks.videos import camera_video, repeat_video, videos_directory

LEAST_OF_CEILING, MOST_SECONDS = 0.60, 20.0
VIT_B = "vit_base_patch16_224"
OURS = {"vtnstream, NVDEC": "nvdec", "vtnstream, software": "software"}
"""Name of the contender -> ``--decoder``."""
READERS = ("pyav expert", "torchcodec expert", "torchcodec nvdec")
"""Library and manner of decoders of whole frames; the last one decodes on the GPU."""


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    if options.device == "cuda" and not machine.gpus():
        print("cuda: skipped: no CUDA device here, nothing is measured")
        return
    result = common.Result("cuda", {"frames": options.frames, "runs": options.runs})
    add_backbones(result, options)
    directory = videos_directory(options.directory)
    minute = camera_video(directory, options.part, 1920, 1080)
    add_decoders(result, minute, options)
    video = repeat_video(minute, directory / f"{minute.stem}_x{options.times}.mp4", options.times)
    add_hour(result, video, options)
    result.deliver(options)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = common.parser("cuda", __doc__)
    parser.add_argument("--backbones", default=f"deit_tiny_patch16_224,{VIT_B},resnet50")
    parser.add_argument("--frames", type=int, default=4096, help="through each backbone")
    parser.add_argument("--part", type=float, default=60, help="seconds of 1080p to encode")
    parser.add_argument("--times", type=int, default=60, help="repetitions of it in the long video")
    parser.add_argument("--hour-backbone", default=VIT_B)
    parser.add_argument("--fps", default="2")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--directory", type=Path, help="folder of generated videos")
    parser.add_argument(
        "--side", type=int, default=8192, help="size of the matrices of the ceiling"
    )
    parser.add_argument("--device", default="cuda", help="cpu only tests this benchmark")
    return parser.parse_args(arguments)


def add_backbones(result: common.Result, options: argparse.Namespace) -> None:
    """Measure frames per second of each backbone in vtnstream, and its share of the ceiling."""
    with Child("benchmarks.gpu:Matrix") as child:
        ceiling = child.call("teraflops", device=options.device, side=options.side)
        if isinstance(ceiling, Failure):
            raise SystemExit(f"the matrix ceiling cannot be measured: {ceiling.reason}")
    table = result.table(
        f"Backbones in ours, against {ceiling.value:,.0f} TFLOPS of bf16 matrix products",
        *("backbone", "computes in", "frames/s", "GFLOPs a frame", "share of the ceiling"),
        note="GFLOPs are multiply-adds, attention included; each is two operations of the ceiling.",
    )
    for backbone in common.split(options.backbones):
        common.say(backbone)
        with (
            tempfile.TemporaryDirectory() as scratch,
            _features(backbone, scratch, options) as ours,
        ):
            ready = ours.call("load")
            ours.call("backbone", count=options.frames)
            found = interleave({backbone: ours}, options.runs, "backbone", count=options.frames)
        with Child("benchmarks.gpu:Matrix") as child:
            products = child.call("products", backbone=backbone)
        timed = found[backbone]
        if isinstance(timed, Failure) or isinstance(products, Failure):
            reason = timed.reason if isinstance(timed, Failure) else str(products)
            table.add(f"{backbone}: {reason}", *[None] * 4)
            result.broken.append(f"{backbone}: {reason}")
            continue
        rate = options.frames / timed.wall
        share = rate * 2 * products.value / (ceiling.value * 1e12)
        computes = ready.value if isinstance(ready, Measurement) else None
        table.add(backbone, computes, rate, products.value / 1e9, share)
        if backbone == VIT_B:
            result.target(f"{backbone}: share of the bf16 ceiling", share, LEAST_OF_CEILING)


def _features(
    backbone: str, scratch: str, options: argparse.Namespace, decoder: str = "auto"
) -> Child:
    """Make vtnstream's contender on the GPU, with random weights that are written first."""
    weights = str(Path(scratch) / "weights.pt")
    with Child("benchmarks.peers.features:RandomWeights") as child:
        child.call("write", backbone=backbone, path=weights)
    settings: dict[str, Any] = {"backbone": backbone, "weights": weights, "rate": options.fps}
    output = str(Path(scratch) / "features.safetensors")
    settings |= {"output": output, "device": options.device, "decoder": decoder}
    return Child("benchmarks.ours:OurFeatures", settings)


def add_decoders(result: common.Result, video: Path, options: argparse.Namespace) -> None:
    """Measure the decoding of sampled frames of a minute of 1080p: by vtnstream on the GPU and
    in software, and by decoders of whole frames."""
    table = result.table(
        f"Decoding {video.name} at {options.fps} frames/s",
        *("decoder", "seconds", "times real time", "CPU s"),
    )
    with tempfile.TemporaryDirectory() as scratch:
        children = {
            name: _features("test_vit", scratch, options, decoder) for name, decoder in OURS.items()
        }
        for reader in READERS:
            library, manner = reader.split()
            settings = {"reader": library, "manner": manner, "rate": options.fps}
            children[reader] = Child("benchmarks.gpu:Decoder", settings)
        interleave(children, 1, "decode", video=str(video))  # libraries load
        found = interleave(children, options.runs, "decode", video=str(video))
        for child in children.values():
            child.close()
    for name, timed in found.items():
        if isinstance(timed, Failure):
            table.add(f"{name}: cannot run here: {timed.reason}", None, None, None)
        else:
            table.add(name, timed.wall, options.part / timed.wall, timed.cpu)


def add_hour(result: common.Result, video: Path, options: argparse.Namespace) -> None:
    """Measure a video of an hour from opening it to its features on disk, cold and warm."""
    minutes, backbone = options.part * options.times / 60, options.hour_backbone
    table = result.table(
        f"{minutes:g} minutes of 1080p25 H.264 through {backbone} at {options.fps} frames/s",
        *("pass", "seconds", "CPU s", "frames", "peak MB", "dtype, back end, decoder"),
    )
    with (
        tempfile.TemporaryDirectory() as scratch,
        _features(backbone, scratch, options) as ours,
    ):
        ours.call("load")
        timed = None
        for name in ("first", *(f"warm {n + 1}" for n in range(options.runs))):
            common.say(f"{video.name}: {name}")
            timed = ours.call("extract", video=str(video))
            if isinstance(timed, Failure):
                result.broken.append(f"{video.name}: {timed.reason}")
                return
            ran = ours.call("ran")
            how = ran.value if isinstance(ran, Measurement) else None
            table.add(name, timed.wall, timed.cpu, timed.value, ours.peak / MEGABYTE, how)
    walls = [row[1] for row in table.rows[1:]]
    warm = common.median(wall for wall in walls if isinstance(wall, float))
    why = "" if minutes == 60 else "the target is for 60 minutes"
    result.target("an hour of 1080p (s)", warm, MOST_SECONDS, at_most=True, why=why)
