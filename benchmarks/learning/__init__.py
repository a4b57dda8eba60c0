"""Tasks that require the whole video: how well a VTN learns them.

    python -m benchmarks learning phases     a cue in the first seconds changes all labels
    python -m benchmarks learning order      which of three far-apart events came first
    python -m benchmarks learning fight FOLDER   real clips of 2 s, five folds by scene

Each NAME has options of its own (--help).
"""

from __future__ import annotations

import importlib
import sys

from vtnstream.registry import suggestion

NAMES = {"phases": "long_context", "order": "long_context", "fight": "fight"}
"""Name of a task -> its module."""


def main(arguments: list[str]) -> None:
    """Run the task that the first argument names.

    Raises:
        SystemExit: there is no task of this name, or help was requested.
    """
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print(__doc__.strip())
        sys.exit(0)
    if name not in NAMES:
        sys.exit(f"nothing called {name!r} to learn{suggestion(name, NAMES)}: {', '.join(NAMES)}")
    importlib.import_module(f"benchmarks.learning.{NAMES[name]}").main(arguments)
