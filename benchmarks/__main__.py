"""``python -m benchmarks NAME [OPTIONS]``: each prints a table last."""

from __future__ import annotations

import importlib
import sys

BENCHMARKS = {
    "memory": "peak memory of extract and timeline on a ten-minute and a three-hour film",
    "frozen_features": "VTN on frozen features against a linear probe, folds x seeds",
}


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in BENCHMARKS:
        print("usage: python -m benchmarks NAME [OPTIONS]\n")
        for known, what in BENCHMARKS.items():
            print(f"  {known:<18}{what}")
        sys.exit(0 if name in ("", "-h", "--help") else 2)
    importlib.import_module(f"benchmarks.{name}").main(sys.argv[2:])


if __name__ == "__main__":
    main()
