"""Configuration of the step from scores per token to segments."""

from __future__ import annotations

from dataclasses import dataclass

from vtnstream.errors import ConfigError

LOCALIZE = ("auto", "dense", "sliding", "both")
SMOOTHING = ("none", "median", "gaussian")
NMS = ("none", "hard", "soft")


@dataclass(frozen=True, slots=True)
class TimelineConfig:
    """Options of ``vtnstream timeline``.

    Attributes:
        localize: ``dense``, ``sliding`` or ``both``; ``auto`` is dense if the model has a dense
            head, else sliding, and an explicit ``window`` adds sliding.
        window: length of a sliding window in tokens; None means 64 and that none was requested.
        stride: tokens between the starts of windows; None is half a window.
        smoothing: ``none``, ``median`` or ``gaussian`` over ``smoothing_size`` tokens (the standard
            deviation of the gaussian is a quarter of it).
        viterbi: cost of a change of label in nats; None is off.
        threshold: lowest score at which a segment continues; None is 0.5 for multi-label scores
            and no threshold for others. It replaces the thresholds of a model that finds cuts
            and transitions.
        sensitivity: how readily such a model reports a cut or transition, from 0 to 1; 0.5 and
            None keep the thresholds of the model.
        onset: a segment starts at this score and continues until the score is below ``offset``. If
            only one of the two is given, the other is ``threshold`` or else the same value.
        offset: score below which a segment ends.
        min_duration: seconds; shorter segments are merged into their neighbours. For a model that
            finds cuts and transitions this is the length of shots; transitions may be shorter.
        merge_gap: seconds; segments of one label with a shorter gap are joined.
        nms: for multi-label scores only: propose segments at several thresholds, then remove
            (``hard``) or rescore (``soft``) those that overlap a better one of their class.
        nms_threshold: tIoU above which two segments overlap.
        background: keep segments labelled ``background``.
    """

    localize: str = "auto"
    window: int | None = None
    stride: int | None = None
    smoothing: str = "none"
    smoothing_size: int = 5
    viterbi: float | None = None
    threshold: float | None = None
    sensitivity: float | None = None
    onset: float | None = None
    offset: float | None = None
    min_duration: float = 0.0
    merge_gap: float = 0.0
    nms: str = "none"
    nms_threshold: float = 0.5
    background: bool = False

    DEFAULT_WINDOW = 64

    def __post_init__(self) -> None:
        for name, allowed in (("localize", LOCALIZE), ("smoothing", SMOOTHING), ("nms", NMS)):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} must be one of {', '.join(allowed)}")
        for name in ("window", "stride", "smoothing_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, not {value}")
        if self.stride is not None and self.stride > self.num_window_tokens:
            raise ConfigError(
                f"stride {self.stride} is larger than the window, which would skip tokens: choose "
                f"at most {self.num_window_tokens}"
            )
        for name in ("viterbi", "min_duration", "merge_gap"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ConfigError(f"{name} cannot be negative: {value}")
        for name in ("threshold", "sensitivity", "onset", "offset", "nms_threshold"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"{name} must be between 0 and 1, not {value}")
        self._check_exclusive()

    def _check_exclusive(self) -> None:
        if self.threshold is not None and self.sensitivity is not None:
            raise ConfigError("threshold and sensitivity set the same levels: give one")
        if self.onset is not None and self.offset is not None and self.offset > self.onset:
            raise ConfigError(f"offset {self.offset} is above onset {self.onset}")
        if self.viterbi is not None and (self.onset, self.offset) != (None, None):
            raise ConfigError("viterbi and onset / offset exclude each other: give one of them")

    @property
    def num_window_tokens(self) -> int:
        return self.window or self.DEFAULT_WINDOW

    @property
    def num_stride_tokens(self) -> int:
        return self.stride or max(1, self.num_window_tokens // 2)
