"""Extract features to a file, load them, and find where a video looks like one of its moments.

The weights are random here, so that nothing is downloaded. For real videos leave ``weights`` out
and write ``pretrained=True``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import timm
import torch
from generated import write_scenes
from safetensors.torch import save_file

import vtnstream


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        save_file(timm.create_model("test_resnet").state_dict(), folder / "weights.safetensors")
        scenes = [("stripes", 4), ("dot", 6), ("stripes", 5), ("pan", 5)]
        report = vtnstream.extract(
            write_scenes(folder / "video.mp4", scenes),
            backbone="test_resnet",
            weights=folder / "weights.safetensors",
            fps=2,
            output=folder / "features.safetensors",
            runtime=vtnstream.RuntimeConfig(device="cpu", cache_dir=folder / "cache"),
        )
        features = vtnstream.load_features(folder / "features.safetensors")
    print(f"{features.values.shape[0]} features of {features.values.shape[1]} numbers")
    print("partial" if report.partial else "the whole video was read")

    centred = features.values - features.values.mean(0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    asked = features.times.end_seconds <= 4  # the first four seconds
    alike = centred @ centred[asked].mean(0)
    for start, value in zip(features.times.start_seconds, alike, strict=True):
        print(f"{start:5.1f} s  {value:+.2f}  {'#' * max(0, round(40 * float(value)))}")


if __name__ == "__main__":
    main()
