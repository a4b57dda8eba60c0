"""What a damaged file gives: a partial result that says so, or one clear error."""

from __future__ import annotations

import tempfile
from pathlib import Path

from generated import write_scenes

import vtnstream


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = write_scenes(folder / "whole.ts", [("stripes", 4), ("pan", 4)])
        damaged = folder / "damaged.ts"
        data = bytearray(whole.read_bytes())
        middle = len(data) // 2
        data[middle : middle + 4000] = bytes(4000)
        damaged.write_bytes(data)
        for path in (whole, damaged, folder / "absent.mp4"):
            try:
                report = vtnstream.timeline(path)
            except vtnstream.VtnstreamError as error:
                print(f"{path.name}: error: {error}")
                continue
            partial = report.partial
            told = "whole" if partial is None else "partial: " + "; ".join(partial.reasons)
            print(f"{path.name}: {told}")


if __name__ == "__main__":
    main()
