"""Peak memory against the length of the video.

1. ``extract``: the peak of the whole command must not grow by more than 32 MB from ten minutes.
2. ``timeline`` from stored features adds at most 2.5 x tokens x D x 4 + 3 x tokens x classes x 4
   bytes of anonymous memory to a process that has loaded and warmed up everything.

The videos are cheap to decode and of any length.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import threading
from pathlib import Path

from benchmarks import common
from benchmarks.child import status_bytes
from benchmarks.children import MEGABYTE, Child, Failure
from benchmarks.commands import VTNSTREAM, alternate
from benchmarks.folders import write_small_model
from benchmarks.videos import block_video, videos_directory

SHORT_MINUTES = 10
MOST_GROWTH = 32.0
KINDS = ("dense", "sliding", "both")


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    directory = videos_directory(options.directory)
    hours = [float(hours) for hours in common.split(options.hours)]
    names = {f"{SHORT_MINUTES} min": SHORT_MINUTES * 60.0} | {f"{h:g} h": h * 3600 for h in hours}
    videos = {name: block_video(directory, seconds) for name, seconds in names.items()}
    result = common.Result(
        "memory",
        {
            "backbone": options.backbone,
            "frames/s": options.fps,
            "D of the encoder": options.hidden_size,
            "classes": options.classes,
        },
    )
    with tempfile.TemporaryDirectory(dir=directory) as temporary:
        scratch = Path(temporary)
        model = write_small_model(
            *(scratch / "model", options.backbone),
            fps=options.fps,
            hidden_size=options.hidden_size,
            classes=options.classes,
        )
        add_extract(result, videos, options, scratch)
        add_timeline(result, videos, model, scratch)
    result.deliver(options)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = common.parser("memory", __doc__)
    parser.add_argument("--hours", default="1,3,10", help="lengths beside ten minutes")
    parser.add_argument("--fps", default="2")
    parser.add_argument("--backbone", default="test_vit")
    parser.add_argument("--hidden-size", type=int, default=192)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--directory", type=Path, help="folder of generated videos")
    return parser.parse_args(arguments)


def add_extract(
    result: common.Result, videos: dict[str, Path], options: argparse.Namespace, scratch: Path
) -> None:
    """Measure the peak of the whole command, including its store and its feature file."""
    table = result.table(
        "extract: peak of the whole command (MB)",
        *("video", "peak", f"beyond {SHORT_MINUTES} min", "seconds", "CPU s"),
    )
    peaks: list[float] = []
    for number, (name, video) in enumerate(videos.items()):
        common.say(f"extract, {name}")
        command = [
            *(*VTNSTREAM, "extract", video, "--backbone", options.backbone, "--quiet"),
            *("--fps", options.fps, "--no-cache", "-o", scratch / "features.safetensors"),
        ]
        done = alternate({name: command}, 2 if number == 0 else 1)[name]
        peaks.append(done.peak / MEGABYTE)
        table.add(name, peaks[-1], peaks[-1] - peaks[0], done.wall, done.cpu)
    if len(peaks) > 1:
        what = "extract: most growth with length (MB)"
        result.target(what, max(peaks) - peaks[0], MOST_GROWTH, at_most=True)


def add_timeline(
    result: common.Result, videos: dict[str, Path], model: Path, scratch: Path
) -> None:
    """Measure the anonymous memory that one call adds, and compare it with the documented bound."""
    table = result.table(
        "timeline from stored features: anonymous memory added (MB)",
        *("video", "tokens", "localisation", "added", "bound"),
    )
    shares = []
    short = str(next(iter(videos.values())))
    for name, video in list(videos.items())[1:]:
        for kind in KINDS:
            common.say(f"timeline, {name}, {kind}")
            settings = {"model": str(model), "cache": str(scratch / "timeline"), "kind": kind}
            with Child("benchmarks.memory:TimelineMemory", settings) as child:
                found = child.call("measure", video=str(video), short=short)
            if isinstance(found, Failure):
                table.add(name, None, f"{kind}: {found.reason}", None, None)
                result.broken.append(f"timeline {kind}: {found.reason}")
                continue
            added, bound = (found.value[key] / MEGABYTE for key in ("added", "bound"))
            table.add(name, found.value["tokens"], kind, added, bound)
            shares.append(added / bound)
    if shares:
        what = "timeline: added memory, largest share of its bound"
        result.target(what, max(shares), 1.0, at_most=True)


class TimelineMemory:
    """Measures the anonymous memory at the peak of ``timeline``, beyond that of a warm process.

    Args:
        model: a model folder.
        cache: folder of the stored features.
        kind: of localisation.
    """

    def __init__(self, model: str, cache: str, kind: str) -> None:
        import vtnstream
        from vtnstream.config import RuntimeConfig, TimelineConfig

        self.model = vtnstream.load_model(model)
        self.runtime = RuntimeConfig(cache_dir=Path(cache))
        self.options = TimelineConfig(localize=kind)

    def measure(self, video: str, short: str) -> dict[str, float]:
        """Return the bytes that one video adds.

        The video and a short one are processed first, so that features are stored and libraries
        warm.
        """
        import vtnstream
        from vtnstream.inference.plan import temporal_bound_bytes
        from vtnstream.models.vtn.model import VTN

        for path in (video, short):
            vtnstream.timeline(path, model=self.model, options=self.options, runtime=self.runtime)
        gc.collect()
        before, peak, done = _anonymous_bytes(), [0], threading.Event()

        def watch() -> None:
            while not done.wait(0.002):
                peak[0] = max(peak[0], _anonymous_bytes())

        watcher = threading.Thread(target=watch)
        watcher.start()
        report = vtnstream.timeline(
            video, model=self.model, options=self.options, runtime=self.runtime
        )
        done.set()
        watcher.join()
        assert isinstance(self.model, VTN)
        config, tokens = self.model.config, int(report.run["tokens"])
        hidden = config.temporal.hidden_size or report.run["features"]
        bound = temporal_bound_bytes(tokens, hidden, len(config.head.labels))
        return {"added": max(0, peak[0] - before), "bound": bound, "tokens": tokens}


def _anonymous_bytes() -> int:
    """Return the anonymous resident memory of this process.

    Raises:
        RuntimeError: the system does not report it.
    """
    found = status_bytes("self", "RssAnon:")
    if not found:
        raise RuntimeError("no RssAnon in /proc/self/status: this measurement needs Linux")
    return found
