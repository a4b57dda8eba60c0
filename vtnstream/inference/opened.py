"""The opened features of one request, whichever way they were found; without torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from vtnstream.encoding.run_facts import RunFacts
from vtnstream.encoding.stored import ExtractedFeatures
from vtnstream.features.key import video_identity
from vtnstream.features.store import FeatureStore
from vtnstream.models.long_sequence.output import SequenceOutput
from vtnstream.transport.address import shown
from vtnstream.types import FeatureSequence, FrameIndex, Partial, VideoInfo


@dataclass(frozen=True, slots=True)
class Source:
    """Features of one video with the facts for its report.

    ``output`` is the pass over the whole sequence, if it was made before (end-to-end),
    ``frames`` the numbers of the video's frames, if they were counted, and ``store`` holds the
    features.
    """

    features: FeatureSequence
    info: VideoInfo
    partial: Partial | None
    warnings: tuple[str, ...]
    facts: RunFacts
    output: SequenceOutput | None = None
    frames: FrameIndex | None = None
    store: FeatureStore | None = None

    @classmethod
    def of(cls, extracted: ExtractedFeatures) -> Source:
        return cls(
            extracted.features,
            extracted.info,
            extracted.partial,
            extracted.warnings,
            extracted.facts,
            frames=extracted.frames,
            store=extracted.store,
        )


def with_display_name(path: str | Path, place: str | Path, source: Source) -> Source:
    """Return ``source`` under the name the user gave, though it was read at ``place``, and with
    the hash of the file that was read."""
    facts = source.facts
    if facts.video_blocks_sha256 is None:
        identity = video_identity(place)
        facts = dataclasses.replace(facts, video_blocks_sha256=identity.blocks_sha256)
    info = dataclasses.replace(source.info, path=shown(str(path)))
    return dataclasses.replace(source, info=info, facts=facts)
