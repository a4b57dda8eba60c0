"""``vtnstream timeline`` of an hour-long video with a preset of the paper: the first run, which
decodes and encodes, and the second, which finds stored features.

"Beyond imports" subtracts the time of a process that only imports the same modules. The video is
cheap to decode and the weights are random. ``--image-size 32`` makes the first run short; the
second reads the same number of features.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks import common, machine
from benchmarks.commands import VTNSTREAM, Command, alternate, python, run
from benchmarks.folders import write_preset
from benchmarks.videos import block_video, videos_directory

MOST_SECONDS_BF16, MOST_SECONDS = 2.0, 4.0
HOUR_TOKENS = 7_200

_LIST_MODULES = """
import sys
from vtnstream.cli.framework.process_settings import postpone_compiler
from vtnstream.cli.main import main

postpone_compiler()
code = main(sys.argv[2:])
open(sys.argv[1], "w").write("\\n".join(sys.modules))
sys.exit(code)
"""

_IMPORT_MODULES = """
import sys, warnings
from vtnstream.cli.framework.process_settings import loading, postpone_compiler, spin_less
from vtnstream.models.torch_internals.lazy_compiler import import_light

warnings.simplefilter("ignore")
spin_less()
postpone_compiler()  # as the command does, or the baseline would be a third slower
with loading():
    for name in open(sys.argv[1]).read().split():
        try:
            import_light(name)
        except Exception:  # parts of a library that only it can import
            pass
unlike = set(open(sys.argv[1]).read().split()) ^ set(sys.modules)
print(sum("torch" in name or "timm" in name for name in unlike), "modules of torch and timm differ")
"""


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    directory = videos_directory(options.directory)
    video = block_video(directory, options.minutes * 60)
    result = common.Result(
        "timeline",
        {
            "video": video.name,
            "preset": options.preset,
            "image size": options.image_size or "the preset's own",
            "frames/s": options.fps,
            "classes": options.classes,
            "runs": options.runs,
        },
    )
    with tempfile.TemporaryDirectory(dir=directory) as temporary:
        scratch = Path(temporary)
        common.say("writing the model")
        model = write_preset(
            *(scratch / "model", options.preset),
            classes=options.classes,
            image_size=options.image_size,
        )
        arguments = [
            *("timeline", str(video), "--model", str(model), "--fps", options.fps, "--json"),
            *("--quiet", "--cache-dir", str(scratch / "cache"), "--dtype", options.dtype),
        ]
        measure(result, arguments, options.runs, scratch)
    result.deliver(options)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = common.parser("timeline", __doc__)
    parser.add_argument("--minutes", type=int, default=60, help="length of the video")
    parser.add_argument("--preset", default="vtn-vit-b")
    parser.add_argument("--image-size", type=int, default=0, help="of a ViT [the preset's own]")
    parser.add_argument("--fps", default="2")
    parser.add_argument("--classes", type=int, default=400)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--runs", type=int, default=3, help="second runs")
    parser.add_argument("--directory", type=Path, help="folder of generated videos")
    return parser.parse_args(arguments)


def measure(result: common.Result, arguments: list[str], runs: int, scratch: Path) -> None:
    """Measure the first run; then second runs in turn with processes that only import."""
    common.say("first run")
    first = run([*VTNSTREAM, *arguments])
    common.say("second runs")
    modules = scratch / "modules"
    run(python(_LIST_MODULES, modules, *arguments))
    found = alternate(
        {"second": [*VTNSTREAM, *arguments], "imports": python(_IMPORT_MODULES, modules)}, runs
    )
    second, imports = found["second"], found["imports"]
    check(first, second)
    facts = json.loads(second.output)["run"]
    table = result.table(
        f"timeline of {facts['tokens']:,} tokens",
        *("run", "seconds", "beyond imports", "CPU s", "MB"),
    )
    for name, done in (("first", first), ("second", second), ("imports alone", imports)):
        beyond = None if done is imports else done.wall - imports.wall
        table.add(name, done.wall, beyond, done.cpu, done.peak / 2**20)
    result.notes.append(
        f"the second run's own account: temporal half {facts['temporal_seconds']} s of "
        f"{facts['seconds']} s with the model loaded"
    )
    fast = machine.has_bf16()
    bound = MOST_SECONDS_BF16 if fast else MOST_SECONDS
    what = f"second run beyond imports, {facts['tokens']:,} tokens (s)"
    why = "" if facts["tokens"] >= HOUR_TOKENS else f"the target is for {HOUR_TOKENS:,} tokens"
    result.target(what, second.wall - imports.wall, bound, at_most=True, why=why)


def check(first: Command, second: Command) -> None:
    """Check that the second run read the store and gives the same result.

    Raises:
        SystemExit: it did not.
    """
    reports = [json.loads(done.output) for done in (first, second)]
    if [report["run"]["from_store"] for report in reports] != [False, True]:
        raise SystemExit("the second run did not find its features stored")
    if reports[0]["segments"] != reports[1]["segments"]:
        raise SystemExit("the second run found other segments")
