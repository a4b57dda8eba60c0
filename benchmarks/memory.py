"""The stated memory bounds, measured in child processes.

1. ``extract`` on a three-hour film peaks within 32 MB of a ten-minute one.
2. ``timeline`` from stored features adds at most 2.5 x tokens x D x 4 + 3 x tokens x classes
   x 4 bytes of anonymous memory (a short film goes first, so that libraries are warm).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np

MEGABYTE = 2**20


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks memory", description=__doc__)
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--fps", default="2")
    parser.add_argument("--backbone", default="test_vit")
    parser.add_argument("--hidden-size", type=int, default=192)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--directory", type=Path, default=None)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.directory or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        short = make_film(directory / "short.mp4", 600)
        long = make_film(directory / "long.mp4", options.hours * 3600)
        model = make_model(directory, options)
        peaks = [peak_of_extract(film, options, directory) for film in (short, long)]
        added = timeline_adds(short, long, model, directory)
        commands = [peak_of_timeline(film, model, directory) for film in (short, long)]
    bound = next(iter(added.values()))["bound"]
    print(f"{'peak RSS (MB)':<28}{'10 min':>10}{f'{options.hours:g} h':>10}{'more':>8}{'bound':>8}")
    for name, (short_peak, long_peak), most in (
        ("extract", peaks, 32.0),
        ("timeline, stored features", commands, bound),
    ):
        more = long_peak - short_peak
        verdict = "ok" if more <= most else "OVER"
        print(f"{name:<28}{short_peak:>10.1f}{long_peak:>10.1f}{more:>8.1f}{most:>8.1f} {verdict}")
    print(f"\n{'anonymous memory (MB)':<28}{'added':>10}{'bound':>10}")
    for kind, result in added.items():
        verdict = "ok" if result["added"] <= result["bound"] else "OVER"
        print(f"{f'timeline {kind}':<28}{result['added']:>10.2f}{result['bound']:>10.2f} {verdict}")
    print(f"tokens of the long film: {next(iter(added.values()))['tokens']}")


def make_film(path: Path, seconds: float) -> Path:
    """A film of moving noise blocks, 320 x 180 at 12 frames/s, written once."""
    if path.exists():
        return path
    from fractions import Fraction

    from vtnstream.video.write import write_video

    def frames() -> object:
        random = np.random.default_rng(0)
        blocks = random.integers(0, 255, (64, 9, 16, 3), np.uint8)
        for number in range(int(seconds * 12)):
            yield np.kron(blocks[number // 12 % 64], np.ones((20, 20, 1), np.uint8))

    write_video(path, frames(), Fraction(12))  # type: ignore[arg-type]
    return path


def make_model(directory: Path, options: argparse.Namespace) -> Path:
    """A model with both heads, weights as initialised: memory does not depend on them."""
    from dataclasses import replace
    from fractions import Fraction

    from vtnstream.config import (
        BackboneConfig,
        HeadConfig,
        ModelConfig,
        SamplingConfig,
        TemporalConfig,
    )
    from vtnstream.models.backbone import native_preprocess
    from vtnstream.models.checkpoint import save_model
    from vtnstream.models.create import create_model

    backbone = BackboneConfig(options.backbone)
    labels = tuple(f"class {i}" for i in range(options.classes))
    config = ModelConfig(
        name="memory",
        sampling=SamplingConfig(fps=Fraction(options.fps)),
        backbone=backbone,
        preprocess=replace(native_preprocess(backbone)),
        feature_norm="video_mean",
        temporal=TemporalConfig(
            num_layers=3, num_heads=4, hidden_size=options.hidden_size, intermediate_size=512
        ),
        head=HeadConfig(labels=labels, dense_labels=labels),
    )
    folder = directory / "model"
    save_model(create_model(config), folder)
    return folder


def peak_of_extract(film: Path, options: argparse.Namespace, directory: Path) -> float:
    return peak(
        *("extract", film, "--backbone", options.backbone, "--fps", options.fps, "--quiet"),
        *("--cache-dir", directory / "cache", "-o", directory / "features.safetensors"),
    )


def peak_of_timeline(film: Path, model: Path, directory: Path) -> float:
    """From stored features: what the decoder takes is in :func:`peak_of_extract`."""
    return peak(
        *("timeline", film, "--model", model, "--localize", "both", "--quiet", "--json"),
        *("--cache-dir", directory / "cache"),
    )


def peak(*arguments: object) -> float:
    """Peak resident megabytes of a whole command, as the operating system accounts them."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    command = [sys.executable, "-m", "vtnstream", *map(str, arguments)]
    done = subprocess.run(
        [sys.executable, "-c", code, *command], check=True, capture_output=True, text=True
    )
    return int(done.stdout.split()[-1]) / 1024


def timeline_adds(
    short: Path, long: Path, model: Path, directory: Path
) -> dict[str, dict[str, float]]:
    results = {}
    for kind in ("dense", "sliding", "both"):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.memory", kind, short, long, model, directory],
            check=True,
            capture_output=True,
            text=True,
        )
        results[kind] = json.loads(done.stdout)
    return results


def measure_timeline(kind: str, short: str, long: str, folder: str, directory: str) -> None:
    """Runs in a child: anonymous memory before and at the peak of ``timeline``."""
    import gc

    import vtnstream
    from vtnstream.config import RuntimeConfig, TimelineConfig
    from vtnstream.inference.plan import temporal_bound_bytes

    model = vtnstream.load_model(folder)
    runtime = RuntimeConfig(cache_dir=Path(directory) / "cache")
    options = TimelineConfig(localize=kind)
    for film in (long, short):  # long: fills the store; short: warms everything up
        vtnstream.timeline(film, model=model, options=options, runtime=runtime)
    gc.collect()
    before, peak, done = anonymous_bytes(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            peak[0] = max(peak[0], anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    report = vtnstream.timeline(long, model=model, options=options, runtime=runtime)
    done.set()
    watcher.join()
    tokens, config = report.run["tokens"], model.config
    hidden = config.temporal.hidden_size or report.run["features"]
    bound = temporal_bound_bytes(tokens, hidden, len(config.head.labels))
    added = max(0, peak[0] - before)
    print(json.dumps({"added": added / MEGABYTE, "bound": bound / MEGABYTE, "tokens": tokens}))


def anonymous_bytes() -> int:
    """Anonymous resident memory of this process (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no RssAnon in /proc/self/status: this measurement needs Linux")


if __name__ == "__main__":
    measure_timeline(*sys.argv[1:])
