"""Facts of one run for the ``run`` section of a report: counts, seconds, engine and store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from vtnstream.encoding.clips import InputShape


@dataclass(frozen=True, slots=True)
class ComputedOn:
    """Where and how features are computed, for the report.

    Attributes:
        device: the device of the backbone.
        dtype: its precision.
        shape: the input of one call.
        torch: the version of torch, or None where numpy computes.
        numpy: the version of numpy where it computes.
    """

    device: str
    dtype: str
    shape: InputShape
    torch: str | None = None
    numpy: str | None = None

    def as_dict(self) -> dict[str, str]:
        """JSON data of a report; its section ``sampling`` has the shape."""
        libraries = {"torch": self.torch, "numpy": self.numpy}
        known = {name: version for name, version in libraries.items() if version is not None}
        return {"device": self.device, "dtype": self.dtype, **known}


@dataclass(frozen=True, slots=True)
class RuntimeFacts:
    """How features were computed.

    Attributes:
        device: the device of the backbone.
        dtype: its precision.
        backend: the engine that ran it, ``eager`` without a compiler.
        reason: why that engine, one clause.
        batch_size: tokens of a batch.
        workers: threads that call the engine.
        engine: figures of a compiled engine: seconds of compiling, frames per second with
            and without it, largest relative difference of a feature vector.
        decoder: the decoder, and ``decoder_reason`` why.
    """

    device: str
    dtype: str
    backend: str
    reason: str
    batch_size: int
    workers: int
    engine: Mapping[str, float] = field(default_factory=dict)
    decoder: str | None = None
    decoder_reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return JSON data; figures of the engine are on the same level as the others."""
        return _known(self, merged=("engine",))


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What a run took from the feature store and what it added.

    Attributes:
        tokens_encoded: tokens that were missing in the store.
        extract_seconds: seconds from opening the video to its features.
        decode_wait_seconds: seconds the backbone waited for frames.
        backbone_seconds: seconds in the backbone, of each worker.
        store: folder of the features.
        video_sha256: hash of the whole file; None for a remote one.
    """

    tokens_encoded: int
    extract_seconds: float
    decode_wait_seconds: float
    backbone_seconds: float
    store: str
    video_sha256: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return JSON data."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Facts of one run over one video. Facts that the run does not have are None and are left
    out of the report.

    Attributes:
        tokens: T, the tokens that were analysed.
        features: D, the numbers of a feature vector.
        from_store: whether nothing was decoded; None for a stream.
        scores_from_store: True where the outputs of the model were stored, too.
        frames_decoded: frames that were decoded.
        preprocess: the code whose preprocessing was followed instead of the model's config.
        views: clips and crops, as text, and ``num_views`` how many.
        kept_tokens: tokens of a stream that are still in its ring.
        gaps: gaps of a stream.
        delay_seconds: how late the segments of a stream are.
        batch_size: tokens of a batch of a stream.
        bars: shares of the frame at its left, top, right and bottom that were black in the whole
            video and left out.
        stored: of the feature store.
        runtime: of the backbone.
        attention: how the temporal encoder attends.
        temporal_encoder: what compiled it on a GPU, ``eager`` for nothing.
        video_blocks_sha256: hash of 16 blocks of the file that was read.
        temporal_seconds: seconds in the temporal half, ``search_seconds`` in scoring queries, and
            ``seconds`` of the whole run.
        output: the feature file that was written.
    """

    tokens: int
    features: int
    from_store: bool | None = None
    scores_from_store: bool | None = None
    frames_decoded: int | None = None
    preprocess: str | None = None
    views: str | None = None
    num_views: int | None = None
    kept_tokens: int | None = None
    gaps: int | None = None
    delay_seconds: float | None = None
    batch_size: int | None = None
    bars: tuple[float, ...] | None = None
    stored: StoreFacts | None = None
    runtime: RuntimeFacts | None = None
    attention: str | None = None
    temporal_encoder: str | None = None
    video_blocks_sha256: str | None = None
    temporal_seconds: float | None = None
    search_seconds: float | None = None
    seconds: float | None = None
    output: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return JSON data; facts of the store are on the same level as the others."""
        known = _known(self, merged=("stored",))
        more = {k: known.pop(k) for k in ("attention", "temporal_encoder") if k in known}
        runtime = known.get("runtime", {}) | more
        return known | ({"runtime": runtime} if runtime else {})


def _known(facts: RuntimeFacts | RunFacts, merged: tuple[str, ...]) -> dict[str, Any]:
    """Return the facts that are not None, by name; those of ``merged`` parts on the same level."""
    known: dict[str, Any] = {}
    for item in fields(facts):
        value = getattr(facts, item.name)
        if isinstance(value, (RuntimeFacts, StoreFacts)):
            value = value.as_dict()
        if item.name in merged:
            known |= value or {}
        elif value is not None:
            known[item.name] = value
    return known
