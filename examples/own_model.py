"""Train a model on labelled segments, save it, and find them in a video it has not seen.

The backbone is random here, so that nothing is downloaded: it is enough to tell stripes from a
dot. For real videos name one with weights: ``TrainConfig(pretrained=True,
backbone=BackboneConfig("mobilenetv3_large_100.ra_in1k"))``.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

from generated import write_scenes

import vtnstream
from vtnstream.config import (
    BackboneConfig,
    DataConfig,
    OptimConfig,
    RuntimeConfig,
    SamplingConfig,
    TemporalConfig,
    TrainConfig,
)


def write_training_set(folder: Path, count: int) -> Path:
    """``count`` videos of three scenes, and a CSV of their segments."""
    lines = ["path,start,end,label"]
    for number in range(count):
        chance = random.Random(number)
        scenes = [(chance.choice(("stripes", "dot")), chance.randint(3, 6)) for _ in range(3)]
        write_scenes(folder / f"{number}.mp4", scenes, seed=number)
        start = 0
        for kind, seconds in scenes:
            lines.append(f"{number}.mp4,{start},{start + seconds},{kind}")
            start += seconds
    path = folder / "segments.csv"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def main(folder: Path) -> None:
    runtime = RuntimeConfig(device="cpu", cache_dir=folder / "cache")
    recipe = TrainConfig(
        annotations=str(write_training_set(folder, 8)),
        output=str(folder / "model"),
        weights="random",
        sampling=SamplingConfig(fps=2),
        backbone=BackboneConfig("test_resnet"),
        preprocess={"size": 64, "resize": 64},
        temporal=TemporalConfig(
            num_layers=1, num_heads=4, hidden_size=32, intermediate_size=64, attention_window=(8,)
        ),
        data=DataConfig(validation=0.0),
        optim=OptimConfig(epochs=15, batch_size=8, learning_rate=3e-3),
    )
    vtnstream.train(recipe, runtime=runtime)

    new = write_scenes(folder / "new.mp4", [("dot", 6), ("stripes", 7), ("dot", 5)], seed=99)
    model = vtnstream.load_model(folder / "model")
    report = vtnstream.timeline(new, model=model, runtime=runtime)
    for segment in report.segments:
        print(f"{segment.start:5.1f} {segment.end:5.1f}  {segment.label}  {segment.score:.2f}")


if __name__ == "__main__":
    if sys.argv[1:]:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as name:
            main(Path(name))
