"""The data types that the packages pass to each other, in the order of the data flow.

path -> VideoInfo -> FrameChunk* -> (backbone) -> FeatureSequence -> (temporal encoder)
-> ScoreTimeline -> Segment* -> Report.

Arrays are numpy arrays. Dataclasses with arrays compare by identity (``eq=False``), and their
``repr`` shows shapes instead of numbers.
"""

from __future__ import annotations

from vtnstream.types.arrays import FloatArray, IndexArray, SecondsArray
from vtnstream.types.features import Features, FeatureSequence
from vtnstream.types.frame_index import FrameIndex, FrameRun, seconds_of_frame
from vtnstream.types.frames import DecodeStats, DecodeSummary, FrameChunk, TokenTimes
from vtnstream.types.results import (
    AttentionMap,
    ClassScore,
    Curve,
    FrameScores,
    HeadClasses,
    Moment,
    Partial,
    QueryAnswer,
    Report,
    ScoreCurve,
    ScoreTimeline,
    Segment,
)
from vtnstream.types.video import Chapter, Colour, Fit, FrameFit, Thumbnail, TimeRange, VideoInfo

__all__ = [
    "AttentionMap",
    "Chapter",
    "ClassScore",
    "Colour",
    "Curve",
    "DecodeStats",
    "DecodeSummary",
    "FeatureSequence",
    "Features",
    "Fit",
    "FloatArray",
    "FrameChunk",
    "FrameFit",
    "FrameIndex",
    "FrameRun",
    "FrameScores",
    "HeadClasses",
    "IndexArray",
    "Moment",
    "Partial",
    "QueryAnswer",
    "Report",
    "ScoreCurve",
    "ScoreTimeline",
    "SecondsArray",
    "Segment",
    "Thumbnail",
    "TimeRange",
    "TokenTimes",
    "VideoInfo",
    "seconds_of_frame",
]
