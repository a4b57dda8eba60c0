"""A closed vocabulary on real clips: the rows of an ImageNet classifier as words."""

from __future__ import annotations

import argparse
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import common
from benchmarks.words.scores import Presence
from benchmarks.words.spaces import class_names, class_vectors, runtime_of, space_of
from vtnstream.config.search import SearchConfig
from vtnstream.localization.peaks import Evidence, find_segments
from vtnstream.search.reading import read_video
from vtnstream.types import FeatureSequence, FloatArray
from vtnstream.video.write import write_video
from vtnstream.words.background import BACKGROUND_WORDS
from vtnstream.words.scoring import score_words
from vtnstream.words.vectors import unit_blocks

SECONDS, RATE = 5, 5
"""Duration of each photograph in the video that is made of them, and its frame rate."""


@dataclass(frozen=True)
class Truth:
    """The content of clips, annotated by eye.

    Attributes:
        present: (file, word) pairs.
        absent: words that no clip shows.
        photographs: word -> image file, in the order of the video that is made of them.
    """

    present: tuple[tuple[str, str], ...]
    absent: tuple[str, ...]
    photographs: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> Truth:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        pairs = tuple((file, word) for file, words in data["present"].items() for word in words)
        return cls(pairs, tuple(data["absent"]), dict(data.get("photographs", {})))


def closed(options: argparse.Namespace, result: common.Result) -> None:
    """Count right peaks and false answers over all clips, for several rules."""
    truth = Truth.read(options.closed)
    names, rows = class_names(options.labels), class_vectors(options.weights)
    number = {name: place for place, name in reversed(list(enumerate(names)))}
    asked = {word for _, word in truth.present} | set(truth.absent) | set(truth.photographs)
    free = [place for place in range(len(names)) if names[place] not in asked]
    random = np.random.default_rng(options.seed)
    others = rows[random.choice(free, len(BACKGROUND_WORDS), replace=False)]
    config = SearchConfig()
    ours, hours = Presence(), 0.0
    rights, peaks = 0, 0
    flat: list[tuple[bool, float]] = []
    margin: list[tuple[bool, float]] = []
    space, runtime = space_of(options), runtime_of(options)
    with _videos(truth, options.data) as videos:
        for path, shown in videos.items():
            common.say(path.name)
            words = [*shown, *truth.absent]
            texts = rows[[number[word] for word in words]]
            with read_video(path, space, runtime) as source:
                features = source.features
                scored = score_words(
                    features, texts, others, smoothing_seconds=config.smoothing_seconds
                )
                plain = _plain(features, texts, others, config.smoothing_seconds)
            seconds = float(features.times.end_seconds[-1])
            hours += seconds / 3600
            for place, word in enumerate(words):
                evidence = scored.evidence[place]
                found = () if evidence is None else find_segments(evidence, word, config)
                is_shown = place < len(shown)
                ours.add(shown=is_shown, answered=bool(found), seconds=seconds)
                flat.append((is_shown, plain[0][place]))
                margin.append((is_shown, plain[1][place]))
                span = shown.get(word) if is_shown else None
                if span is not None and evidence is not None:
                    at = int(evidence.smoothed(config.smoothing_seconds).presence.argmax())
                    time = float(features.times.start_seconds[at])
                    peaks += 1
                    rights += span[0] <= time < span[1]
    table = result.table(
        "Words that are shown and words that are not",
        "rule", "shown", "found %", "absent", "answered %",
        note=f"Over {hours:.2f} h of video; the absent words were asked of every clip.",
    )  # fmt: skip
    table.add(
        "vtnstream", ours.present, 100 * ours.found / ours.present,
        ours.absent, 100 * ours.answered / ours.absent,
    )  # fmt: skip
    wanted = ours.answered / ours.absent
    for name, values in (("flat cosine", flat), ("best of 20 unrelated words", margin)):
        absent = np.array([value for shown, value in values if not shown])
        present = np.array([value for shown, value in values if shown])
        cut = float(np.quantile(absent, 1 - wanted))
        table.add(
            f"{name}, cut at {cut:.3f} to answer as many absent words",
            len(present), 100 * float(np.mean(present > cut)),
            len(absent), 100 * float(np.mean(absent > cut)),
        )  # fmt: skip
    if peaks:
        result.notes.append(f"{rights} of {peaks} photographs peak while they are shown.")
    if ours.false_answers_an_hour is not None:
        result.notes.append(
            f"{ours.false_answers_an_hour:.2f} false answers for an hour of video and absent word."
        )


@contextmanager
def _videos(
    truth: Truth, folder: Path
) -> Iterator[dict[Path, dict[str, tuple[float, float] | None]]]:
    """Return each clip with the words it shows, and the times of photographs."""
    found: dict[Path, dict[str, tuple[float, float] | None]] = {}
    for file, word in truth.present:
        found.setdefault(folder / file, {})[word] = None
    with tempfile.TemporaryDirectory() as made:
        if truth.photographs:
            path = Path(made) / "photographs.mp4"
            write_video(path, _frames(truth, folder), Fraction(RATE))
            found[path] = {
                word: (place * SECONDS, (place + 1) * SECONDS)
                for place, word in enumerate(truth.photographs)
            }
        yield found


def _frames(truth: Truth, folder: Path) -> Iterator[np.ndarray]:
    for file in truth.photographs.values():
        image = Image.open(folder / file).convert("RGB")
        image.thumbnail((640, 480))
        canvas = Image.new("RGB", (640, 480), (90, 90, 90))
        canvas.paste(image, ((640 - image.width) // 2, (480 - image.height) // 2))
        frame = np.asarray(canvas, np.uint8)
        for _ in range(SECONDS * RATE):
            yield frame


def _plain(
    features: FeatureSequence, texts: FloatArray, others: FloatArray, seconds: float
) -> tuple[list[float], list[float]]:
    """Return the highest smoothed cosine of each word, and the same minus the best of 20 others."""
    cosines = np.concatenate([block @ texts.T for block in unit_blocks(features)])
    best = np.concatenate([(block @ others[:20].T).max(axis=1) for block in unit_blocks(features)])

    def peak(values: FloatArray) -> float:
        one = np.ascontiguousarray(values, np.float32)
        return float(Evidence(one, one, features.times).smoothed(seconds).presence.max())

    columns = range(len(texts))
    return [peak(cosines[:, k]) for k in columns], [peak(cosines[:, k] - best) for k in columns]
