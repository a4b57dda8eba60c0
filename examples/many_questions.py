"""Ask several questions about one video: it is decoded once, and its features are stored.

The model is untrained, so only the times here mean something.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from generated import write_scenes

import vtnstream
from vtnstream.config import (
    BackboneConfig,
    HeadConfig,
    ModelConfig,
    PreprocessConfig,
    RuntimeConfig,
    SamplingConfig,
    TemporalConfig,
    TimelineConfig,
)


def small_model() -> object:
    """An untrained model with one class head."""
    return vtnstream.create_model(
        ModelConfig(
            name="small",
            sampling=SamplingConfig(fps=4),
            preprocess=PreprocessConfig(size=64, resize=64, mean=(0.5,) * 3, std=(0.5,) * 3),
            backbone=BackboneConfig("test_resnet"),
            temporal=TemporalConfig(num_layers=1, num_heads=4, intermediate_size=64),
            head=HeadConfig(labels=("play", "pause")),
        )
    ).eval()


def main() -> None:
    model = small_model()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runtime = RuntimeConfig(device="cpu", cache_dir=folder / "cache")
        video = write_scenes(folder / "video.mp4", [("stripes", 5), ("pan", 5), ("dot", 5)])
        for window in (32, 16, 8):
            report = vtnstream.timeline(video, window=window, model=model, runtime=runtime)
            source = "stored features" if report.run["from_store"] else "the video"
            print(f"window {window:2}: {len(report.segments)} segments, from {source}")
        smooth = TimelineConfig(window=8, smoothing="median", min_duration=2.0)
        report = vtnstream.timeline(video, options=smooth, model=model, runtime=runtime)
        print(f"smoothed : {len(report.segments)} segments of at least 2 s")
        later = vtnstream.timeline(video, start="0:05", end="0:10", model=model, runtime=runtime)
        print(f"a part   : {later.start_seconds:.1f} to {later.end_seconds:.1f} s")


if __name__ == "__main__":
    main()
