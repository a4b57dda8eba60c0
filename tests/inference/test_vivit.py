"""ViViTs on real videos: sliding clips, whole sequences, and the plain model on the same frames."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vtnstream
from tests.small_model import RATE, noise_frames
from tests.synth import SyntheticVideo
from vtnstream import api
from vtnstream.config import (
    BackboneConfig,
    HeadConfig,
    ModelConfig,
    PreprocessConfig,
    RuntimeConfig,
    SamplingConfig,
    TimelineConfig,
    ViViTConfig,
)
from vtnstream.config.vivit import FORMS
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.errors import UsageError
from vtnstream.localization.window_scores import SlidingScores, window_starts
from vtnstream.models.vivit.model import ViViT
from vtnstream.preprocess.pipeline import Preprocess
from vtnstream.preprocess.spatial import frame_fit
from vtnstream.types import Report
from vtnstream.video.source import open_video
from vtnstream.video.write import write_video

TOLERANCE = 1e-5
CLIP, LABELS = 4, ("a", "b", "c")
"""Tokens of a clip: 8 frames, one every quarter of a second as in the video."""


def make(form: str, *, dense: bool = False) -> ViViT:
    """Build a small model whose predictions differ from clip to clip."""
    torch.manual_seed(0)
    config = ModelConfig(
        name="small-vivit",
        architecture="vivit",
        sampling=SamplingConfig(fps=Fraction(2)),
        preprocess=PreprocessConfig(size=32, resize=32, mean=(0.5,) * 3, std=(0.5,) * 3),
        backbone=BackboneConfig("test_vit", {"img_size": 32, "depth": 2}),
        vivit=ViViTConfig(form, num_frames=8, stride=1, frame_rate=Fraction(4), temporal_layers=1),
        head=HeadConfig(
            labels=LABELS, dense_labels=("background", "x", "y") if dense else (), dropout=0.0
        ),
    )
    model = ViViT(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
        assert model.head is not None
        logits = model(torch.randn(64, 8, 3, 32, 32)).logits
        model.head.weight.mul_(2 / logits.std(0)[:, None])
        model.head.bias.zero_()
        model.head.bias.sub_(model(torch.randn(64, 8, 3, 32, 32)).logits.mean(0))
    return model


@pytest.fixture(scope="session")
def models() -> dict[str, ViViT]:
    return {form: make(form) for form in FORMS}


def scores(report: Report) -> list[float]:
    named = {c.label: c.score for c in report.classes}
    return [named[label] for label in LABELS]


def spans(report: Report) -> list[tuple[Any, ...]]:
    return [(s.start, s.end, s.label, s.track) for s in report.segments or ()]


def assert_same(a: Report, b: Report) -> None:
    assert scores(a) == pytest.approx(scores(b), abs=TOLERANCE)
    assert spans(a) == spans(b)
    np.testing.assert_allclose(
        [s.score for s in a.segments or ()], [s.score for s in b.segments or ()], atol=TOLERANCE
    )


def every_frame(path: Path, model: ViViT) -> torch.Tensor:
    """Return all prepared frames (F, 3, H, W), decoded by a pass of its own."""
    prepare = model.config.preprocess
    fit = frame_fit(prepare)
    config = SamplingConfig("all")
    with open_video(path, config, fit=fit, interpolation=prepare.interpolation) as source:
        frames = np.concatenate([chunk.frames for chunk in source.chunks()])
    return Preprocess(prepare)(frames)


# ------------------------------------------------------------------ what is right


@pytest.mark.parametrize("form", FORMS)
def test_clips_equal_the_model_on_manually_cut_clips(
    video: Path, models: dict[str, ViViT], runtime: RuntimeConfig, form: str
) -> None:
    model = models[form]
    report = vtnstream.timeline(video, model=model, runtime=runtime)
    frames = every_frame(video, model)
    count = len(frames) // 2
    assert report.run["tokens"] == count == 300
    table = SlidingScores(count, len(LABELS), CLIP)
    logits = []
    starts = window_starts(count, CLIP, CLIP // 2)
    for start in starts:
        with torch.no_grad():
            row = model(frames[None, 2 * start : 2 * (start + CLIP)]).logits[0]
        logits.append(row)
        table.add(start, row.softmax(0).numpy())
    mean = torch.stack(logits).mean(0).softmax(0)
    assert scores(report) == pytest.approx(mean.tolist(), abs=TOLERANCE)
    assert report.run["clips"] == len(starts) == 149
    assert report.run["class_from"] == "the mean of the clips' logits"
    wanted = table.result().argmax(1)
    assert len(set(wanted)) > 1
    found = np.full(count, -1)
    for segment in report.segments or ():
        first, stop = segment.start * 2, segment.end * 2
        assert first == int(first) and stop == int(stop), "tokens are half a second long"
        found[int(first) : int(stop)] = LABELS.index(segment.label)
    assert found.tolist() == wanted.tolist()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("span", [(None, None), ("0:20.2", "0:51.3"), ("30", "31")])
def test_chunked_and_end_to_end_agree(
    video: Path,
    models: dict[str, ViViT],
    runtime: RuntimeConfig,
    form: str,
    span: tuple[str | None, str | None],
) -> None:
    start, end = span
    ask = {"model": models[form], "runtime": runtime, "start": start, "end": end}
    chunked = vtnstream.timeline(video, **ask)
    assert_same(chunked, vtnstream.timeline(video, **ask, method="end-to-end"))
    assert_same(chunked, vtnstream.timeline(video, **ask))  # from the store
    if start == "30":  # half a clip
        assert chunked.run["tokens"] == 2 and chunked.run["clips"] == 1
        assert (chunked.start_seconds, chunked.end_seconds) == (30, 31)


def test_whole_video_is_one_sequence(
    video: Path, models: dict[str, ViViT], runtime: RuntimeConfig
) -> None:
    model = models["factorised-encoder"]
    report = vtnstream.timeline(video, model=model, runtime=runtime, whole=True)
    with torch.no_grad():
        logits = model(every_frame(video, model)[None]).logits[0]
    assert scores(report) == pytest.approx(logits.softmax(0).tolist(), abs=TOLERANCE)
    assert report.run["class_from"] == "one pass over the whole video"
    clips = vtnstream.timeline(video, model=model, runtime=runtime)
    assert spans(report) == spans(clips), "its timeline is that of the clips"
    assert scores(report) != pytest.approx(scores(clips), abs=1e-3)
    plain = vtnstream.timeline(video, model=model, method="end-to-end", whole=True)
    assert_same(report, plain)


def test_dense_head_reads_the_whole_video(video: Path, runtime: RuntimeConfig) -> None:
    model = make("factorised-encoder", dense=True)
    ask = {"model": model, "runtime": runtime}
    dense = vtnstream.timeline(video, **ask)
    assert dense.settings["tracks"] == ["dense"] and len(spans(dense)) > 3
    assert dense.run["class_from"] == "the mean of the clips' logits"
    with torch.no_grad():
        logits = model(every_frame(video, model)[None]).dense_logits[0]
    found = np.concatenate(
        [np.full(int((s.end - s.start) * 2), s.label) for s in dense.segments or ()]
        + [np.full(0, "x")]
    )
    names = np.array(["background", "x", "y"])[logits.argmax(1)]
    assert found.tolist() == [name for name in names if name != "background"]
    both = vtnstream.timeline(video, **ask, options=TimelineConfig(localize="both"))
    assert both.settings["tracks"] == ["dense", "sliding"]


@pytest.mark.parametrize("form", ["joint", "factorised-encoder"])
@pytest.mark.parametrize(
    ("sampling", "tokens"),
    [
        (SamplingConfig(fps=Fraction(1)), 150),
        (SamplingConfig("uniform", num_frames=51), 26),
        (SamplingConfig("stride", stride=7), 43),
        (SamplingConfig("keyframes"), None),
    ],
)
def test_other_samplings(
    video: Path,
    models: dict[str, ViViT],
    runtime: RuntimeConfig,
    form: str,
    sampling: SamplingConfig,
    tokens: int | None,
) -> None:
    ask = {"model": models[form], "sampling": sampling, "runtime": runtime}
    chunked = vtnstream.timeline(video, **ask)
    assert_same(chunked, vtnstream.timeline(video, **ask, method="end-to-end"))
    assert tokens is None or chunked.run["tokens"] == tokens


def test_rarer_samples_keep_their_inner_step(
    video: Path, models: dict[str, ViViT], runtime: RuntimeConfig
) -> None:
    """With one sample every 2 s its frames are still a quarter of a second apart."""
    model = models["factorised-encoder"]
    rare = SamplingConfig(fps=Fraction(1, 2))
    report = vtnstream.classify(video, model=model, sampling=rare, runtime=runtime, whole=True)
    frames = every_frame(video, model)
    picked = torch.cat([frames[k : k + 2] for k in range(0, 600, 8)])
    with torch.no_grad():
        logits = model(picked[None]).logits[0]
    assert scores(report) == pytest.approx(logits.softmax(0).tolist(), abs=TOLERANCE)
    assert report.sampling["description"] == "0.5 times 2 frames/s"


# ------------------------------------------------------------------ gaps, ends, resuming


@pytest.fixture(scope="module")
def gapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write half a minute at 4 frames/s with a gap from 10.25 s to 16 s, and one of 1.3 s at the
    end."""
    times = [Fraction(k, 4) for k in range(41)] + [16 + Fraction(k, 4) for k in range(30)]
    path = tmp_path_factory.mktemp("gapped") / "gapped.mkv"
    video = SyntheticVideo(
        times=times,
        last_seconds=0.25,
        size=(64, 64),
        draw=lambda number, *_: next(noise_frames(number, 1)),
        lost=range(41, 47),
    )
    return video.write(path)


@pytest.mark.parametrize("form", ["joint", "factorised-encoder"])
def test_no_clip_crosses_a_gap(
    gapped: Path, models: dict[str, ViViT], runtime: RuntimeConfig, form: str
) -> None:
    ask = {"model": models[form], "runtime": runtime}
    report = vtnstream.timeline(gapped, **ask)
    assert report.partial is not None and len(report.partial.gaps) == 1
    (gap,) = report.partial.gaps
    assert not any(s.start < gap[1] and s.end > gap[0] for s in report.segments or ())
    assert_same(report, vtnstream.timeline(gapped, **ask, method="end-to-end"))
    alone = [
        vtnstream.timeline(gapped, **ask, start=start, end=end)
        for start, end in ((0, gap[0]), (gap[1], None))
    ]
    assert report.run["clips"] == sum(part.run["clips"] for part in alone)
    joined = [s for part in alone for s in part.segments or ()]
    assert spans(report) == [(s.start, s.end, s.label, s.track) for s in joined]


@pytest.mark.parametrize("frames", [1, 3, 8, 9])
@pytest.mark.parametrize("form", ["joint", "factorised-encoder"])
def test_videos_shorter_than_a_clip(
    tmp_path: Path, models: dict[str, ViViT], runtime: RuntimeConfig, form: str, frames: int
) -> None:
    path = tmp_path / "short.mp4"
    write_video(path, noise_frames(3, frames), RATE)
    model = models[form]
    ask = {"model": model, "runtime": runtime}
    report = vtnstream.timeline(path, **ask)
    assert_same(report, vtnstream.timeline(path, **ask, method="end-to-end"))
    assert report.run["clips"] == (1 if frames < 9 else 2)
    seen = every_frame(path, model)
    if form == "joint" and frames < 9:
        clip = torch.cat((seen, seen[-1:].expand(8 - frames, -1, -1, -1)))
        with torch.no_grad():
            wanted = model(clip[None]).logits[0].softmax(0).tolist()
        assert scores(report) == pytest.approx(wanted, abs=TOLERANCE)
    assert report.segments is not None
    assert report.segments[-1].end == pytest.approx(frames / RATE, abs=0.26)


@pytest.mark.parametrize("form", ["joint", "factorised-encoder"])
@pytest.mark.parametrize("lost", [[0], [1], [2], [0, 2], [1, 2]])
def test_lost_chunks_are_computed_again_byte_identical(
    video: Path, models: dict[str, ViViT], runtime: RuntimeConfig, form: str, lost: list[int]
) -> None:
    ask = {"model": models[form], "runtime": runtime}
    first = vtnstream.timeline(video, **ask)
    assert runtime.cache_dir is not None
    chunks = sorted(runtime.cache_dir.rglob("0*.safetensors"))
    before = [path.read_bytes() for path in chunks]
    assert len(chunks) == 3
    for number in lost:
        chunks[number].unlink()
    again = vtnstream.timeline(video, **ask)
    assert 0 < again.run["tokens_encoded"] < 300
    assert [path.read_bytes() for path in chunks] == before
    assert spans(again) == spans(first) and scores(again) == scores(first)


def test_a_second_run_decodes_nothing(
    video: Path, models: dict[str, ViViT], runtime: RuntimeConfig
) -> None:
    for form in ("joint", "factorised-encoder"):
        ask = {"model": models[form], "runtime": runtime}
        assert not vtnstream.classify(video, **ask).run["from_store"]
        assert vtnstream.timeline(video, **ask).run["from_store"]
    whole = vtnstream.timeline(video, **ask, window=10, whole=True)
    assert whole.run["from_store"] and whole.run["clip_tokens"] == 10
    assert vtnstream.timeline(video, **ask, end=30).run["from_store"]
    other = TimelineConfig(stride=1)
    finer = vtnstream.timeline(video, model=models["joint"], runtime=runtime, options=other)
    assert not finer.run["from_store"] and finer.run["clips"] == 297
    assert_same(
        finer,
        vtnstream.timeline(video, model=models["joint"], options=other, method="end-to-end"),
    )


def test_forms_with_equal_weights_have_separate_stores(video: Path, runtime: RuntimeConfig) -> None:
    """Averaging ViTs have the same tensors in forms 1 and 4; their features differ."""
    found = []
    for form in ("joint", "factorised-dot-product"):
        torch.manual_seed(0)
        base = make(form).config
        arguments = {**base.backbone.arguments, "class_token": False, "global_pool": "avg"}
        config = replace(base, backbone=BackboneConfig("test_vit", arguments))
        torch.manual_seed(0)
        model = ViViT(config).eval()
        with torch.no_grad():
            model.head.weight.normal_()
        found.append(vtnstream.classify(video, model=model, runtime=runtime, end=10))
    assert not found[1].run["from_store"]
    assert scores(found[0]) != pytest.approx(scores(found[1]), abs=1e-6)


def test_stored_features_of_a_factorised_encoder(
    video: Path, models: dict[str, ViViT], runtime: RuntimeConfig, tmp_path: Path
) -> None:
    model = models["factorised-encoder"]
    target = tmp_path / "features.safetensors"
    encoder = FrameEncoder.from_model(model, runtime)
    sampling = model.config.sampling
    api.extract(video, encoder, sampling=sampling, output=target, runtime=runtime)
    for whole in (False, True):
        stored = vtnstream.timeline(video, model=model, features=target, whole=whole)
        assert_same(stored, vtnstream.timeline(video, model=model, runtime=runtime, whole=whole))
    with pytest.raises(UsageError, match="no features per token"):
        joint = FrameEncoder.from_model(models["joint"], runtime)
        api.extract(video, joint, sampling=sampling, output=target, runtime=runtime)


# ------------------------------------------------------------------ what is refused


def test_unsupported_requests_are_refused_before_decoding(
    video: Path, models: dict[str, ViViT], runtime: RuntimeConfig
) -> None:
    joint = {"model": models["joint"], "runtime": runtime}
    with pytest.raises(UsageError, match="leave --whole out"):
        vtnstream.classify(video, **joint, whole=True)
    with pytest.raises(UsageError, match="only clips of 4 tokens"):
        vtnstream.timeline(video, **joint, window=16)
    with pytest.raises(UsageError, match="stride 5 is larger than the clip of 4"):
        vtnstream.timeline(video, **joint, options=TimelineConfig(stride=5))
    with pytest.raises(UsageError, match="4 samples/s are too many"):
        vtnstream.classify(video, **joint, sampling=SamplingConfig(fps=Fraction(4)))
    with pytest.raises(UsageError, match="no dense head"):
        vtnstream.timeline(video, **joint, options=TimelineConfig(localize="dense"))
    with pytest.raises(UsageError, match="attention works with a vtn"):
        vtnstream.attention(video, **joint)
    with pytest.raises(UsageError, match="exclude each other"):
        vtnstream.classify(video, **joint, views="2x1", whole=True)
    assert runtime.cache_dir is not None and not runtime.cache_dir.exists()
