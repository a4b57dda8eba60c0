"""All inference methods give the same result."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vtnstream
from tests.small_model import noise_frames
from vtnstream import api
from vtnstream.config import HeadConfig, RuntimeConfig, SamplingConfig, TimelineConfig
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.errors import FeatureError, UsageError
from vtnstream.features.file import FeatureFile
from vtnstream.features.shuffling import shuffled
from vtnstream.inference.request import Request
from vtnstream.models.long_sequence.streaming import encode_sequence
from vtnstream.models.vtn.model import VTN
from vtnstream.types import Report
from vtnstream.video.write import write_video

TOLERANCE = 1e-5


def scores(report: Report) -> dict[str, float]:
    return {c.label: c.score for c in report.classes}


def assert_same(a: Report, b: Report) -> None:
    assert scores(a) == pytest.approx(scores(b), abs=TOLERANCE)
    if a.segments is None or b.segments is None:
        assert a.segments is b.segments
        return
    assert [(s.start, s.end, s.label, s.track) for s in a.segments] == [
        (s.start, s.end, s.label, s.track) for s in b.segments
    ]
    np.testing.assert_allclose(
        [s.score for s in a.segments], [s.score for s in b.segments], atol=TOLERANCE
    )


@pytest.mark.parametrize("localize", ["dense", "sliding", "both"])
@pytest.mark.parametrize("span", [(None, None), ("0:20", "1:31.3")])
def test_chunked_end_to_end_and_stored_features_agree(
    video: Path,
    model: VTN,
    runtime: RuntimeConfig,
    tmp_path: Path,
    localize: str,
    span: tuple[str | None, str | None],
) -> None:
    options = TimelineConfig(localize=localize, window=24)
    start, end = span
    ask = {"model": model, "options": options, "start": start, "end": end, "runtime": runtime}
    chunked = vtnstream.timeline(video, **ask)
    whole = vtnstream.timeline(video, **ask, method="end-to-end")
    features = tmp_path / "f.safetensors"
    api.extract(
        video,
        FrameEncoder.from_model(model, runtime),
        sampling=model.config.sampling,
        output=features,
        runtime=runtime,
    )
    stored = vtnstream.timeline(video, **ask, features=features)
    assert len({segment.label for segment in chunked.segments or ()}) > 1
    assert_same(chunked, whole)
    assert_same(chunked, stored)
    assert all(each.run["runtime"]["attention"] == "flash" for each in (chunked, whole, stored))
    if start:
        assert chunked.start_seconds == 20.0
        assert chunked.end_seconds == 91.5


def test_both_combines_equal_labels_in_any_order(
    video: Path, model: VTN, runtime: RuntimeConfig
) -> None:
    head = HeadConfig(labels=("a", "b", "c"), dense_labels=("c", "a", "b"))
    other = vtnstream.create_model(replace(model.config, head=head)).eval()
    report = vtnstream.timeline(
        video, model=other, options=TimelineConfig(localize="both"), runtime=runtime, end=40
    )
    assert report.settings["tracks"] == ["combined"]


def test_a_second_run_decodes_nothing(
    video: Path, model: VTN, runtime: RuntimeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = vtnstream.classify(video, model=model, runtime=runtime)
    assert first.run["tokens_encoded"] == first.run["tokens"] == 300

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr("vtnstream.encoding.store_filling.open_inputs", refuse)
    for window in (8, 32):
        report = vtnstream.timeline(video, window=window, model=model, runtime=runtime)
        assert report.run["from_store"]
        assert scores(report) == scores(first)


def test_batch_size_of_the_store_is_reused(video: Path, model: VTN, runtime: RuntimeConfig) -> None:
    vtnstream.classify(video, model=model, runtime=runtime, end=30)
    again = vtnstream.classify(video, model=model, runtime=replace(runtime, batch_size=32))
    encoder = FrameEncoder.from_model(model, runtime)
    from vtnstream.encoding.extract import extract_features

    with extract_features(video, encoder, model.config.sampling, runtime=runtime) as extracted:
        assert extracted.provenance["batch_size"] == 8
        assert len(extracted.features.times) == again.run["tokens"]


def test_no_cache_stores_nothing(video: Path, model: VTN, runtime: RuntimeConfig) -> None:
    cached = vtnstream.classify(video, model=model, runtime=runtime)
    assert runtime.cache_dir is not None
    before = sorted(runtime.cache_dir.rglob("*"))
    loose = vtnstream.classify(video, model=model, runtime=replace(runtime, use_cache=False))
    assert scores(loose) == scores(cached)
    assert sorted(runtime.cache_dir.rglob("*")) == before


@pytest.mark.parametrize(
    "sampling, tokens",
    [
        (SamplingConfig("uniform", num_frames=50), 50),
        (SamplingConfig("stride", stride=7), 86),
        (SamplingConfig("all"), 600),
    ],
)
def test_other_samplings_run_through(
    video: Path, model: VTN, runtime: RuntimeConfig, sampling: SamplingConfig, tokens: int
) -> None:
    chunked = vtnstream.timeline(video, model=model, sampling=sampling, runtime=runtime)
    whole = vtnstream.timeline(
        video, model=model, sampling=sampling, runtime=runtime, method="end-to-end"
    )
    assert chunked.run["tokens"] == tokens
    assert_same(chunked, whole)


def test_features_of_another_video_or_model_are_refused(
    video: Path, model: VTN, runtime: RuntimeConfig, tmp_path: Path
) -> None:
    features = tmp_path / "f.safetensors"
    encoder = FrameEncoder.from_model(model, runtime)
    api.extract(video, encoder, sampling=model.config.sampling, output=features, runtime=runtime)
    other = tmp_path / "other.mp4"
    write_video(other, noise_frames(1, 40), 4)
    with pytest.raises(FeatureError, match="another video"):
        vtnstream.classify(other, model=model, features=features)
    retrained = vtnstream.create_model(model.config)
    with pytest.raises(FeatureError, match="another backbone or weights"):
        vtnstream.classify(video, model=retrained, features=features)


def stored_features(video: Path, model: VTN, target: Path, **options: Any) -> Path:
    encoder = FrameEncoder.from_model(model, RuntimeConfig(dtype="float32"))
    sampling = options.pop("sampling", model.config.sampling)
    no_cache = RuntimeConfig(use_cache=False)
    api.extract(video, encoder, sampling=sampling, output=target, runtime=no_cache, **options)
    return target


def test_features_of_another_sampling_are_refused(video: Path, model: VTN, tmp_path: Path) -> None:
    target = tmp_path / "f.safetensors"
    four, fifty = SamplingConfig(fps=Fraction(4)), SamplingConfig("uniform", num_frames=50)
    features = stored_features(video, model, target, sampling=four, end=20)
    with pytest.raises(
        FeatureError, match="made with another sampling than requested; extract again with `vtn"
    ):
        vtnstream.classify(video, model=model, features=features)
    report = vtnstream.classify(video, model=model, features=features, sampling=four, end=20)
    assert report.run["tokens"] == 80
    features = stored_features(video, model, target, sampling=fifty)
    with pytest.raises(FeatureError, match="another sampling"):  # a range has its own 50 frames
        vtnstream.classify(video, model=model, features=features, sampling=fifty, end=20)


@pytest.mark.parametrize(
    "start, end, whole",
    [(10, 20, True), (12.1, 12.2, True), (12, 15, True), (None, None, False), (5, 15, False)],
)
def test_features_of_a_range_report_missing_parts(
    video: Path,
    model: VTN,
    runtime: RuntimeConfig,
    tmp_path: Path,
    start: float | None,
    end: float | None,
    whole: bool,
) -> None:
    features = stored_features(video, model, tmp_path / "f.safetensors", start=10, end=20)
    ask = {"model": model, "start": start, "end": end, "runtime": runtime}
    report = vtnstream.classify(video, **ask, features=features)
    if whole:
        assert report.partial is None
        assert_same(report, vtnstream.classify(video, **ask))
    else:
        assert report.partial is not None
        assert report.partial.reasons == ("the features hold only 0:10.00 to 0:20.00",)


def test_model_without_a_class_head_says_so(
    video: Path, model: VTN, runtime: RuntimeConfig
) -> None:
    head = replace(model.config.head, labels=())
    dense = vtnstream.create_model(replace(model.config, head=head))
    with pytest.raises(UsageError, match="use vtnstream timeline"):
        vtnstream.classify(video, model=dense, runtime=runtime, end=10)
    assert runtime.cache_dir is not None
    assert not runtime.cache_dir.exists(), "refused before anything is decoded"
    report = vtnstream.timeline(video, model=dense, runtime=runtime, end=10, window=8)
    assert report.settings["tracks"] == ["dense"]
    assert any("--window 8 is not used" in warning for warning in report.warnings)
    idle = TimelineConfig(stride=4, nms="hard")
    report = vtnstream.timeline(video, model=dense, runtime=runtime, end=10, options=idle)
    for flag in ("--stride 4", "--nms hard"):
        assert any(f"{flag} is not used" in warning for warning in report.warnings)
    assert report.model["weights_sha256"]


def test_features_of_another_precision_are_used_with_a_warning(
    video: Path, model: VTN, runtime: RuntimeConfig, tmp_path: Path
) -> None:
    features = tmp_path / "f.safetensors"
    encoder = FrameEncoder.from_model(model, replace(runtime, dtype="bfloat16"))
    api.extract(video, encoder, sampling=model.config.sampling, output=features, runtime=runtime)
    report = vtnstream.classify(video, model=model, features=features, runtime=runtime)
    assert any("bfloat16" in warning for warning in report.warnings)


def test_end_to_end_refuses_unsupported_options(
    video: Path, model: VTN, runtime: RuntimeConfig
) -> None:
    half = replace(runtime, dtype="bfloat16")
    with pytest.raises(UsageError, match="float32 only"):
        vtnstream.classify(video, model=model, runtime=half, method="end-to-end")


def test_dtype_is_part_of_the_key_and_stored_as_float32(
    video: Path, model: VTN, runtime: RuntimeConfig
) -> None:
    full = vtnstream.classify(video, model=model, runtime=runtime, end=20)
    half = vtnstream.classify(
        video, model=model, runtime=replace(runtime, dtype="bfloat16"), end=20
    )
    assert not half.run["from_store"]
    assert scores(half) != scores(full)
    assert scores(half) == pytest.approx(scores(full), abs=0.2)
    assert next(model.backbone.parameters()).dtype.is_floating_point
    assert str(next(model.backbone.parameters()).dtype) == "torch.float32"


def test_a_window_longer_than_the_video_is_one_line(
    video: Path, model: VTN, runtime: RuntimeConfig
) -> None:
    ask = {"model": model, "runtime": runtime, "options": TimelineConfig("sliding")}
    with pytest.raises(UsageError, match=r"film\.mp4: --window 9000 is longer than the video, wh"):
        vtnstream.timeline(video, window=9000, **ask)
    assert vtnstream.timeline(video, end=4, **ask).segments, "the default window fits itself in"


def test_shuffling_moves_frames_and_keeps_times(
    video: Path, model: VTN, runtime: RuntimeConfig, tmp_path: Path
) -> None:
    analyzer = api.Analyzer(model, runtime=runtime)
    plain, mixed, same = (
        analyzer.timeline(video, Request(end=30, shuffle=seed), TimelineConfig())
        for seed in (None, 3, 3)
    )
    file = tmp_path / "f.safetensors"
    api.extract(
        video,
        analyzer.encoder,
        sampling=model.config.sampling,
        output=file,
        end=30,
        runtime=runtime,
    )
    expected = encode_sequence(model, shuffled(FeatureFile(file), 3)).logits
    assert expected is not None
    wanted = torch.from_numpy(expected).softmax(0).tolist()
    assert [scores(mixed)[x] for x in model.config.head.labels] == pytest.approx(wanted, abs=1e-5)
    assert mixed.segments != plain.segments
    assert_same(mixed, same)
    assert mixed.end_seconds == plain.end_seconds
    assert plain.run["runtime"].items() >= {"attention": "flash", "backend": "eager"}.items()
    with pytest.raises(UsageError, match="one chunked pass over the whole video"):
        Request(shuffle=0, method="end-to-end")
