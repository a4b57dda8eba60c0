"""How the bundled model judges the scores of its network, fitted on real videos.

    python -m benchmarks edit_fit --data REAL --videos WORK/choice --model MODEL --work FOLDER

reads the real videos of :mod:`benchmarks.footage`, each as it is and in the variants of
:mod:`benchmarks.shot_variants`, cuts within one take, and composed videos; fits the weights of
``events.evidence`` by logistic regression on the parts "learnt from" and "looked at" and on the
composed ones, chooses the thresholds on the same, and prints cuts, transitions and false
transitions of all variants of the "untouched" part. ``--write`` saves weights and thresholds in
the model. Scores and variants are kept in the work folder.
"""

from __future__ import annotations

import csv
import itertools
import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks import common
from benchmarks.footage import Truth, read_footage
from benchmarks.shot_scores import RealScores, found_in
from benchmarks.shot_variants import (
    JUMPS,
    PLAIN,
    Clip,
    FrameTruth,
    jump_cuts,
    plain,
    read,
    variants,
)
from vtnstream.types import ScoreTimeline, TokenTimes

if TYPE_CHECKING:
    from vtnstream.config import EventsConfig
    from vtnstream.localization.view_changes import ViewChanges
    from vtnstream.models.vtn.model import VTN

COMPOSED = "composed"
FITTED = ("learnt from", "looked at")
WEIGHTS = {PLAIN: 2.0, COMPOSED: 0.3, "exposure steps": 0.3, "stutter": 0.5}
"""Of a frame of these kinds of video, beside 1 of others: what is rarer than here counts less."""
L2 = 3e-5
LEVELS = (0.4, 0.5, 0.6, 0.7, 0.8)
EXTENTS, PEAKS, MEANS = (0.7, 0.85), (0.85, 0.93, 0.97), (0.9, 0.8, 0.7)
"""Thresholds to choose from; of equal ones the first."""
FALSE_COST = 2.0
"""A false transition weighs as much as so many missed ones."""
_GRADUAL = ("dissolve", "fade", "wipe")
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A clip, what the network says of it and how its frames change; the frames are left out."""

    kind: str
    clip: Clip
    scores: NDArray[np.float32]
    changes: ViewChanges


def main(arguments: list[str]) -> None:
    parser = common.parser("edit_fit", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with index.csv")
    parser.add_argument("--videos", type=Path, help="composed videos with segments.csv")
    parser.add_argument("--model", help="model folder [default: the bundled model]")
    parser.add_argument("--work", type=Path, required=True, help="folder for variants and scores")
    parser.add_argument("--write", action="store_true", help="save the result in the model")
    parser.add_argument("--as-is", action="store_true", help="measure the model without fitting")
    options = parser.parse_args(arguments)
    from vtnstream.config.shipped import BUNDLED_MODEL, bundled_model
    from vtnstream.models.io.checkpoint import load_model, save_model
    from vtnstream.models.vtn.model import VTN

    folder = Path(options.model or bundled_model())
    result = common.Result("edit_fit", {"model": folder.name})
    model = load_model(folder)
    assert isinstance(model, VTN)
    model.eval()
    scored = list(_scored(model, options.data, options.videos, options.work / "clips"))
    labels, events = model.config.head.dense_labels, model.config.head.events
    assert events is not None
    if not options.as_is:
        events = fitted(scored, labels, events)
        result.notes.append(f"evidence {[round(w, 3) for w in events.evidence]}")
        result.notes.append(
            f"thresholds: cut {events.moment_threshold}, extent {events.joined_threshold}, "
            f"peak {events.joined_peak}, mean {events.joined_mean}"
        )
    for part in (*FITTED, "untouched"):
        _table(result, part, [s for s in scored if s.clip.part == part], labels, events)
    if options.write:
        head = replace(model.config.head, events=events)
        model.config = replace(model.config, name=BUNDLED_MODEL, head=head)
        save_model(model, folder)
    result.deliver(options)


def _scored(model: VTN, data: Path, videos: Path | None, folder: Path) -> Iterator[Scored]:
    """All clips through the network, one after the other."""
    for kind, clip in _clips(data, videos, folder):
        scores, changes = _read_by(model, clip)
        yield Scored(kind, replace(clip, frames=clip.frames[:0]), scores, changes)


def _clips(data: Path, videos: Path | None, folder: Path) -> Iterator[tuple[str, Clip]]:
    for number, video in enumerate(read_footage(data)):
        kept = folder / f"{video.path.parent.name}_{video.path.name}.pickle"
        if not kept.exists():
            own = plain(video)
            found = [(PLAIN, own), *variants(video)]
            if video.is_take:
                found += [(JUMPS, clip) for clip in jump_cuts(own)]
            folder.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(pickle.dumps(found))
        yield from pickle.loads(kept.read_bytes())
        common.say(f"video {number + 1}")
    for name, rows in itertools.groupby(_rows(videos), key=lambda row: row["path"]):
        assert videos is not None
        yield COMPOSED, _composed(videos / name, list(rows))


def _rows(videos: Path | None) -> list[dict[str, str]]:
    if videos is None:
        return []
    with (videos / "segments.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _composed(path: Path, rows: Sequence[dict[str, str]]) -> Clip:
    """Into black and out of it, and into a freeze, a cut is neither asked for nor charged."""
    frames, edges = read(path, 48, 32)
    cuts: list[int] = []
    graduals: list[tuple[int, int]] = []
    uncertain: list[tuple[int, int]] = []
    before = ""
    for row in rows:
        first = int(np.searchsorted(edges, float(row["start"]) - 1e-4))
        last = int(np.searchsorted(edges, float(row["end"]) - 1e-4)) - 1
        label = row["label"]
        if label == "cut":
            cuts.append(first)
        elif label in _GRADUAL and graduals and graduals[-1][1] == first - 1:
            graduals[-1] = (graduals[-1][0], last)
        elif label in _GRADUAL:
            graduals.append((first, last))
        if {label, before} & {"black", "freeze"}:
            uncertain.append((first - 1, first + 1))
        before = label
    truth = FrameTruth(tuple(cuts), tuple(graduals), tuple(uncertain))
    return Clip(path.name, COMPOSED, frames, edges[:-1], edges[1:], truth, True)


def _read_by(model: VTN, clip: Clip) -> tuple[NDArray[np.float32], ViewChanges]:
    """(T, K) probabilities, and the changes of the frames."""
    import torch

    from vtnstream.localization.view_changes import measure
    from vtnstream.models.long_sequence.streaming import encode_sequence
    from vtnstream.preprocess.pipeline import Preprocess
    from vtnstream.scoring.probabilities import probabilities
    from vtnstream.types import Features

    preprocess = Preprocess(model.config.preprocess)
    grid = (model.config.backbone.thumbnail[0], model.config.backbone.thumbnail[1])
    features = []
    with torch.inference_mode():
        for first in range(0, len(clip.frames), 256):
            frames = np.ascontiguousarray(clip.frames[first : first + 256])
            features.append(model.backbone(preprocess(frames)).float().numpy())
    times = _times(clip)
    output = encode_sequence(model, Features(np.concatenate(features), times), dense=True)
    assert output.dense_logits is not None
    return probabilities(output.dense_logits, False), measure(
        _thumbnails(clip.frames, grid), clip.starts, grid
    )


def _times(clip: Clip) -> TokenTimes:
    places = np.arange(len(clip.starts))
    return TokenTimes(places, places, clip.starts, clip.ends)


def _thumbnails(frames: NDArray[np.uint8], grid: tuple[int, int]) -> Iterator[NDArray[np.float32]]:
    rows, columns = grid
    for first in range(0, len(frames), 1000):
        part = frames[first : first + 1000]
        count, height, width = part.shape[:3]
        cells = part.reshape(count, rows, height // rows, columns, width // columns, 3)
        means = cells.mean(axis=(2, 4)).transpose(0, 3, 1, 2)
        yield np.ascontiguousarray(means.reshape(count, -1), np.float32)


def fitted(scored: Sequence[Scored], labels: Sequence[str], events: EventsConfig) -> EventsConfig:
    """The events with weights and thresholds of the parts that may be fitted on."""
    own = [s for s in scored if s.clip.part in (*FITTED, COMPOSED)]
    weights = fit(*_rows_of(own, labels, events))
    events = replace(events, evidence=tuple(round(float(w), 3) for w in weights))
    real = [s for s in own if s.kind != COMPOSED]
    cuts = (replace(events, moment_threshold=level) for level in LEVELS)
    events = max(cuts, key=lambda one: _value(measured(real, labels, one), "cut"))
    graduals = (
        replace(events, joined_threshold=extent, joined_peak=peak, joined_mean=mean)
        for extent, peak, mean in itertools.product(EXTENTS, PEAKS, MEANS)
    )
    return max(graduals, key=lambda one: _value(measured(real, labels, one), "gradual"))


def _rows_of(
    scored: Iterable[Scored], labels: Sequence[str], events: EventsConfig
) -> tuple[Floats, Floats, Floats]:
    """Evidence (n, 7) of frames that may look like a cut, (n,) whether they are one, (n,) weights.
    Frames beside a cut and in gradual transitions say nothing."""
    from vtnstream.localization.event_scores import evidence_of

    rows, truths, weights = [], [], []
    column = list(labels).index(events.moments[0])
    for one in scored:
        count, truth = len(one.clip.starts), one.clip.truth
        is_cut = np.zeros(count, bool)
        taken = np.ones(count, bool)
        for first, last in (*truth.graduals, *truth.open, *((c, c) for c in truth.cuts)):
            taken[max(first - 2, 0) : last + 3] = False
        for cut in truth.cuts:
            if 2 <= cut < count - 2:
                is_cut[cut] = taken[cut] = True
        taken[:2] = taken[-2:] = False
        scores = one.scores[:, column]
        taken &= is_cut | (one.changes.change > 1.0) | (scores > 0.02)
        rows.append(evidence_of(scores, one.changes)[taken])
        truths.append(is_cut[taken])
        weights.append(np.full(int(taken.sum()), WEIGHTS.get(one.kind, 1.0)))
    return (
        np.concatenate(rows).astype(np.float64),
        np.concatenate(truths).astype(np.float64),
        np.concatenate(weights),
    )


def fit(rows: Floats, truths: Floats, weights: Floats) -> Floats:
    """Weights (1 + columns) of a logistic regression, bias first, none of the others negative.

    Args:
        rows: (n, columns).
        truths: (n,) 0 or 1.
        weights: (n,) of the rows.
    """
    import torch

    mean, spread = rows.mean(0), rows.std(0) + 1e-6
    scaled, wanted = torch.from_numpy((rows - mean) / spread), torch.from_numpy(truths)
    shares = torch.from_numpy(weights / weights.sum())
    own = torch.zeros(rows.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([own], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        solver.zero_grad()
        slopes = torch.nn.functional.softplus(own[1:])
        logits = own[0] + scaled @ slopes
        errors = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, wanted, reduction="none"
        )
        value = (shares * errors).sum() + L2 * (slopes**2).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(loss)  # type: ignore[no-untyped-call]
    slopes = torch.nn.functional.softplus(own[1:]).detach().numpy() / spread
    return np.concatenate([[own[0].item() - (slopes * mean).sum()], slopes])


def measured(scored: Iterable[Scored], labels: Sequence[str], events: EventsConfig) -> RealScores:
    """Counts over clips."""
    from vtnstream.config import TimelineConfig
    from vtnstream.localization.events import to_events

    counts = RealScores()
    for one in scored:
        clip = one.clip
        timeline = ScoreTimeline(one.scores, _times(clip), tuple(labels), False, "dense")
        segments = to_events(timeline, events, TimelineConfig(), [one.changes])
        start = float(clip.starts[0])
        found = found_in(segments, start, False)
        found = replace(found, is_take=not found.cuts and not found.graduals)
        if clip.edited:
            counts.add_edited(clip.name, found, _seconds(clip))
        else:
            counts.add_take(clip.name, found, float(clip.ends[-1]) - start)
    return counts


def _seconds(clip: Clip) -> Truth:
    last = len(clip.starts) - 1

    def spans(pairs: Sequence[tuple[int, int]]) -> tuple[tuple[float, float], ...]:
        zero = clip.starts[0]
        return tuple(
            (float(clip.starts[max(a, 0)] - zero), float(clip.ends[min(b, last)] - zero))
            for a, b in pairs
        )

    cuts = tuple(float(clip.starts[min(c, last)] - clip.starts[0]) for c in clip.truth.cuts)
    return Truth(cuts, spans(clip.truth.graduals), spans(clip.truth.open), clip.fps)


def _value(counts: RealScores, what: str) -> float:
    """Return the number of found ones less :data:`FALSE_COST` times that of false ones."""
    count = counts.cut if what == "cut" else counts.gradual
    return count.hits - FALSE_COST * (count.found - count.hits + counts.false_in_takes)


def _table(
    result: common.Result,
    part: str,
    scored: Sequence[Scored],
    labels: Sequence[str],
    events: EventsConfig,
) -> None:
    table = result.table(
        f"Variants of the part {part}",
        *("variant", "cuts", "cut P", "cut R", "cut F1", "gradual F1", "any F1"),
        *("false an hour of takes", "kind right"),
    )
    kinds = list(dict.fromkeys(one.kind for one in scored))
    for name in (*kinds, "all"):
        own = [one for one in scored if name in (one.kind, "all")]
        counts = measured(own, labels, events)
        cut = counts.cut
        table.add(
            *(name, cut.wanted, cut.precision, cut.recall, cut.f1),
            *(counts.gradual.f1, counts.any.f1, counts.false_an_hour, counts.kind_right),
        )
