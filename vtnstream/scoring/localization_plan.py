"""Decide once per run how a model localises: with its dense head, sliding windows or both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vtnstream.config import TimelineConfig
from vtnstream.errors import UsageError
from vtnstream.models.architectures import VideoModel


@dataclass(frozen=True, slots=True)
class LocalizationPlan:
    """What a run computes besides the features.

    Attributes:
        options: how to localise; None asks for the class of the video alone.
        dense: read scores per token from the dense head.
        sliding: read scores per token from sliding windows through the class head.
        warnings: options that have no effect on this model, one sentence each.
    """

    options: TimelineConfig | None
    dense: bool = False
    sliding: bool = False
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: VideoModel, options: TimelineConfig | None) -> LocalizationPlan:
        """Resolve ``options`` for one model.

        Raises:
            UsageError: the model has no head for what is asked.
        """
        if options is None:
            _require_class_head(model)
            return cls(None)
        dense, sliding = _heads(model, options)
        return cls(options, dense, sliding, _without_effect(model, options, dense, sliding))

    def check_length(self, path: str | Path, num_tokens: int) -> None:
        """Check the window against the length of the video.

        Raises:
            UsageError: the requested window is used, and is longer than the video.
        """
        window = self.options.window if self.options is not None else None
        if self.sliding and window is not None and window > num_tokens:
            raise UsageError(
                f"{path}: --window {window} is longer than the video, which has {num_tokens} "
                "tokens: ask for a shorter one, or leave it out"
            )


def _require_class_head(model: VideoModel) -> None:
    if not model.config.head.labels:
        raise UsageError(
            f"model {model.config.name} has no class head, it only says what happens when: "
            "use vtnstream timeline"
        )


def _heads(model: VideoModel, options: TimelineConfig) -> tuple[bool, bool]:
    """Return whether to use the (dense, class) head for scores per token."""
    head, wanted = model.config.head, options.localize
    if wanted == "auto":
        dense = bool(head.dense_labels)
        return dense, not dense or (options.window is not None and bool(head.labels))
    if wanted in ("dense", "both") and not head.dense_labels:
        raise UsageError(
            f"model {model.config.name} has no dense head: use --localize sliding, "
            "or train one on segments (path,start,end,label)"
        )
    if wanted in ("sliding", "both") and not head.labels:
        raise UsageError(
            f"model {model.config.name} has no class head for sliding windows: use --localize dense"
        )
    return wanted != "sliding", wanted != "dense"


def _without_effect(
    model: VideoModel, options: TimelineConfig, dense: bool, sliding: bool
) -> tuple[str, ...]:
    """Name the options that were given and have no effect on this model."""
    name, warnings = model.config.name, []
    if options.window is not None and not sliding:
        warnings.append(
            f"--window {options.window} is not used: model {name} localises with its dense head "
            "alone"
        )
    if dense and model.config.head.events is not None:
        plain = TimelineConfig()
        given = [
            f"--{field.replace('_', '-')}"
            for field in ("smoothing", "viterbi", "onset", "offset", "merge_gap")
            if getattr(options, field) != getattr(plain, field)
        ]
        if given:
            warnings.append(
                f"{', '.join(given)}: not used on the dense head of model {name}, whose cuts are "
                "found as peaks (--threshold and --min-duration are)"
            )
    return tuple(warnings)
