"""The cost of starting: ``vtnstream --help`` beyond Python's own start, importing the API, and
whether inference imports transformers (it must not). Times are medians of alternating runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import common
from benchmarks.commands import VTNSTREAM, alternate, python, run
from benchmarks.folders import write_small_model
from benchmarks.videos import camera_video

MOST_HELP_SECONDS = 0.15

BARE = "python -c pass"
HELP = "vtnstream --help"
COMMANDS = {
    BARE: python("pass"),
    HELP: (*VTNSTREAM, "--help"),
    "vtnstream timeline --help": (*VTNSTREAM, "timeline", "--help"),
    "vtnstream --version": (*VTNSTREAM, "--version"),
    "import vtnstream": python("import vtnstream"),
    "import torch": python("import torch"),
    "import vtnstream.api": python("import vtnstream.api"),
    "import torch, timm": python("import torch, timm"),
}

# A whole command in this process, then what it has imported.
_CLASSIFY = """
import sys
from vtnstream.cli.main import main

code = main(sys.argv[1:])
names = {name.partition(".")[0] for name in sys.modules}
print("IMPORTED", *sorted(names & {"transformers", "torch", "timm", "av"}))
sys.exit(code)
"""


def main(arguments: list[str]) -> None:
    parser = common.parser("startup", __doc__)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args(arguments)
    result = common.Result("startup", {"runs": options.runs})
    found = alternate(COMMANDS, options.runs)
    table = result.table("Starting", "command", "CPU s", "beyond Python's own", "wall s", "MB")
    bare = found[BARE].cpu
    for name, done in found.items():
        table.add(name, done.cpu, done.cpu - bare, done.wall, done.peak / 2**20)
    what = f"{HELP}: CPU seconds beyond Python's own"
    result.target(what, found[HELP].cpu - bare, MOST_HELP_SECONDS, at_most=True)
    imported = imported_by_inference()
    result.notes.append(f"classify and timeline imported, of the heavy ones: {', '.join(imported)}")
    number = float("transformers" in imported)
    result.target("transformers imported by inference (1 = yes)", number, 0.0, at_most=True)
    result.deliver(options)


def imported_by_inference() -> list[str]:
    """Return the heavy libraries that ``classify`` and ``timeline`` import on a short video."""
    names: set[str] = set()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        video = camera_video(directory, 2, 160, 90)
        model = write_small_model(directory / "model", "test_vit")
        for command in ("classify", "timeline"):
            done = run(
                python(
                    *(_CLASSIFY, command, video, "--model", model, "--quiet"),
                    *("--cache-dir", directory / "cache", "--json"),
                )
            )
            line = done.output.strip().split("\n")[-1]
            names |= set(line.removeprefix("IMPORTED").split())
    return sorted(names)
