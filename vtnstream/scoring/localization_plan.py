"""Decide once per run how a model localises: with its dense head, sliding windows or both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vtnstream.config import ModelConfig, TimelineConfig
from vtnstream.errors import UsageError
from vtnstream.labels import BACKGROUND
from vtnstream.localization.edit_style import STYLES


@dataclass(frozen=True, slots=True)
class LocalizationPlan:
    """The resolved choice of heads and options for one run.

    Attributes:
        options: how to localise; None asks for the class of the video alone.
        dense: read scores per token from the dense head.
        sliding: read scores per token from sliding windows through the class head.
        styles: classify the style of editing of each sliding window, from the cuts that the dense
            head finds.
        warnings: options that have no effect on this model, one sentence each.
    """

    options: TimelineConfig | None
    dense: bool = False
    sliding: bool = False
    styles: bool = False
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: ModelConfig, options: TimelineConfig | None) -> LocalizationPlan:
        """Resolve ``options`` for the model of a config.

        Raises:
            UsageError: the model has no head for what is asked, or an option has no meaning for
                a model that finds cuts and transitions.
        """
        if options is None:
            _require_class_head(config)
            return cls.of_class(config)
        dense, sliding = _heads(config, options)
        if dense and config.head.events is not None:
            _refuse_without_effect(config, options, sliding)
        elif options.sensitivity is not None:
            raise UsageError(
                f"--sensitivity is for models that find cuts and transitions, and model "
                f"{config.name} is none: use --threshold"
            )
        if knows_styles(config):
            return cls(options, True, styles=sliding)
        return cls(options, dense, sliding, warnings=_unused(config, options, sliding))

    @classmethod
    def of_class(cls, config: ModelConfig) -> LocalizationPlan:
        """Plan the class of the video alone, if the model has a class head."""
        return cls(None, dense=knows_styles(config))

    def check_length(self, path: str | Path, num_tokens: int) -> None:
        """Check the window against the length of the video.

        Raises:
            UsageError: the requested window is used, and is longer than the video.
        """
        window = self.options.window if self.options is not None else None
        if (self.sliding or self.styles) and window is not None and window > num_tokens:
            raise UsageError(
                f"{path}: --window {window} is longer than the video, which has {num_tokens} "
                "tokens: ask for a shorter one, or leave it out"
            )


def _require_class_head(config: ModelConfig) -> None:
    if not config.head.labels:
        raise UsageError(
            f"model {config.name} has no class head, only a dense head: use vtnstream timeline"
        )


def _heads(config: ModelConfig, options: TimelineConfig) -> tuple[bool, bool]:
    """Return whether to use the (dense, class) head for scores per token."""
    head, wanted = config.head, options.localize
    if wanted == "auto":
        dense = bool(head.dense_labels)
        return dense, not dense or (options.window is not None and bool(head.labels))
    if wanted in ("dense", "both") and not head.dense_labels:
        raise UsageError(
            f"model {config.name} has no dense head: use --localize sliding, "
            "or train one on segments (path,start,end,label)"
        )
    if wanted in ("sliding", "both") and not head.labels:
        raise UsageError(
            f"model {config.name} has no class head for sliding windows: use --localize dense"
        )
    return wanted != "sliding", wanted != "dense"


def knows_styles(config: ModelConfig) -> bool:
    """Return whether the classes of a model are styles of editing, which its cuts decide."""
    head = config.head
    measured = head.events is not None and bool(config.backbone.thumbnail)
    return measured and set(head.labels) == set(STYLES)


def _unused(config: ModelConfig, options: TimelineConfig, sliding: bool) -> tuple[str, ...]:
    """Name the options that were given and have no effect on this model."""
    head, name = config.head, config.name
    found = []
    if not sliding:
        found += [
            f"--{field} {value} is not used: model {name} localises with its dense head alone"
            for field in ("window", "stride")
            if (value := getattr(options, field)) is not None
        ]
    if options.nms != "none" and not head.multi_label:
        found.append(
            f"--nms {options.nms} is not used: the labels of model {name} exclude each other, so "
            "its segments never overlap"
        )
    if options.background and BACKGROUND not in (*head.labels, *head.dense_labels):
        found.append(f"--background is not used: model {name} has no such label")
    return tuple(found)


_REASONS = {
    "smoothing": "would smooth cuts away",
    "viterbi": "looks for long segments and cuts are single frames",
    "onset": "is for scores that last and cuts are single frames",
    "offset": "is for scores that last and cuts are single frames",
    "merge_gap": "would join shots across the cut between them",
    "nms": "is for labels that overlap",
    "background": "shows a label that this model never gives",
}


def _refuse_without_effect(config: ModelConfig, options: TimelineConfig, sliding: bool) -> None:
    """Refuse options of segments for a model that finds cuts as peaks.

    Raises:
        UsageError: an option has no meaning for such a model.
    """
    plain = TimelineConfig()
    for field, reason in _REASONS.items():
        if getattr(options, field) != getattr(plain, field):
            raise UsageError(
                f"--{field.replace('_', '-')} {reason}: model {config.name} takes "
                "--sensitivity, --threshold and --min-duration"
            )
    for field in ("window", "stride"):
        if not sliding and getattr(options, field) is not None:
            raise UsageError(
                f"--{field} is for sliding windows, and none are asked for: add "
                + ("--window N" if field == "stride" else "--localize both")
            )
