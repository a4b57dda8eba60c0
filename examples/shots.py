"""List the shots of a video with the bundled model.

python examples/shots.py [VIDEO]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from generated import write_scenes

import vtnstream


def main(arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if arguments:
            path = Path(arguments[0])
        else:
            scenes = [("pan", 3), ("pan", 2), ("pan", 2.5), ("pan", 3)]
            path = write_scenes(Path(folder) / "generated.mp4", scenes, seed=1)
        report = vtnstream.timeline(path)
    for segment in report.segments:
        print(f"{segment.start:7.2f} {segment.end:7.2f}  {segment.label}  {segment.score:.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
