"""Configuration of the temporal encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vtnstream.config.checks import one_of, positive
from vtnstream.errors import ConfigError
from vtnstream.registry import suggestion

_KINDS = ("longformer", "full", "tcn")
_TRANSFORMERS = "transformers:"
"""Prefix of kinds that name a class of transformers, such as ``transformers:BertModel``."""

_POSITION_KINDS = ("rotary", "learned", "fixed", "none")
_TOKEN_INPUTS = (
    "feature",
    "feature+difference",
    "feature+difference+similarity",
    "feature+context",
)
_LOOK_AHEAD = _TOKEN_INPUTS[2:]
"""Token inputs that compare a token with later ones."""
_ATTENTIONS = ("learned", "uniform")
_MOST_TCN_LAYERS = 16
_MOST_HEADS = 4096
"""Bound on the heads. Lists with one entry per head are built before the number of heads can be
compared with D."""


@dataclass(frozen=True, slots=True)
class TemporalConfig:
    """The temporal encoder over the tokens (paper section 3.2).

    Attributes:
        num_layers: number of layers.
        num_heads: attention heads; must divide ``hidden_size``.
        hidden_size: width of the encoder; 0 means the backbone's D, any other value adds a linear
            projection before the encoder.
        intermediate_size: width of the inner feed-forward layer.
        attention_window: size w of the attention window, even: w / 2 tokens to each side. One
            number for all layers, or one per layer.
        positions: ``rotary`` (relative, works beyond the training length; the default of new
            models), ``learned`` (the paper's table of ``max_positions``, with the modulo of the
            reference implementation), ``fixed`` (sine and cosine of the absolute position) or
            ``none``.
        max_positions: rows of the learned table.
        window_positions: whether the positions in a sliding window are ``absolute`` or start at 0
            (``clip``, for models trained on clips).
        dropout: dropout of the states.
        attention_dropout: dropout of the attention weights.
        global_attention: False removes the attention between [CLS] and the other tokens, as in the
            ablation of ``vtnstream demo``.
        token_inputs: inputs of the linear embedding: the feature of the token, its difference from
            the previous token, cosine similarities, or the means of the tokens before and after it
            (``models/vtn/token_inputs.py``).
        similarity_reach: number of tokens to each side that a token is compared with.
        context: number of tokens to each side over which ``feature+context`` averages.
        input_dropout: fraction of the inputs that training sets to zero, the same ones in all of a
            sequence.
        num_stages: stages of a ``tcn``; later stages refine the prediction of the first (MS-TCN).
        local_attention: whether each layer of the first stage of a ``tcn`` also attends, with
            ``num_heads`` heads, to the tokens within twice its dilation (ASFormer).
        members: number of ``tcn`` networks whose probabilities are averaged.
        kind: ``longformer`` (sliding windows and global tokens), ``full`` (full attention, whose
            time grows with the square of the length), ``tcn`` (dilated convolutions: local, linear
            in the length, for few videos; with ``num_layers`` 0, a linear model of the token
            inputs) or ``transformers:CLASS``, any encoder of the ``transformers`` library that
            takes ``inputs_embeds``.
        dilation: distance between the tokens of a window: one row for all layers or one per layer,
            each with one number for all heads or one per head, as in [[1], [1, 1, 2, 4]].
        num_global_tokens: number of global tokens: [CLS] and further learned tokens.
        attention: ``learned``, or ``uniform``, which gives all tokens in reach the same weight
            (paper figure 4).
        causal: for online use, a token attends only to the w / 2 tokens before it and to the [CLS]
            token of its own time (``models/vtn/causal_pass.py``).
        arguments: further arguments of the config of a ``transformers`` class.
    """

    num_layers: int = 3
    num_heads: int = 12
    hidden_size: int = 0
    intermediate_size: int = 3072
    attention_window: tuple[int, ...] = (32,)
    positions: str = "rotary"
    max_positions: int = 288
    window_positions: str = "absolute"
    dropout: float = 0.1
    attention_dropout: float = 0.1
    global_attention: bool = True
    token_inputs: str = "feature"
    similarity_reach: int = 12
    context: int = 4
    input_dropout: float = 0.0
    num_stages: int = 1
    local_attention: bool = False
    members: int = 1
    kind: str = "longformer"
    dilation: tuple[tuple[int, ...], ...] = ((1,),)
    num_global_tokens: int = 1
    attention: str = "learned"
    causal: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one_of("temporal.token_inputs", self.token_inputs, _TOKEN_INPUTS)
        one_of("temporal.positions", self.positions, _POSITION_KINDS)
        one_of("temporal.window_positions", self.window_positions, ("absolute", "clip"))
        one_of("temporal.attention", self.attention, _ATTENTIONS)
        positive(num_heads=self.num_heads)
        if self.kind != "tcn":
            positive(num_layers=self.num_layers)
        if self.num_heads > _MOST_HEADS:
            raise ConfigError(f"temporal.num_heads is at most {_MOST_HEADS}")
        positive(intermediate_size=self.intermediate_size, max_positions=self.max_positions - 2)
        positive(context=self.context, num_stages=self.num_stages, members=self.members)
        if not 0 <= self.input_dropout < 1:
            raise ConfigError(f"temporal.input_dropout is a share: {self.input_dropout}")
        positive(similarity_reach=self.similarity_reach, num_global_tokens=self.num_global_tokens)
        if len(self.attention_window) not in (1, self.num_layers):
            raise ConfigError("temporal.attention_window: one number, or one for each layer")
        if any(w <= 0 or w % 2 for w in self.attention_window):
            raise ConfigError("temporal.attention_window must be even and positive")
        if self.hidden_size and self.hidden_size % self.num_heads:
            raise ConfigError(
                f"temporal.hidden_size {self.hidden_size} cannot be split into {self.num_heads} "
                "heads: choose temporal.num_heads that divides it"
            )
        self._check_dilation()
        self._check_kind()
        if self.causal:
            self._check_causal()

    def _check_causal(self) -> None:
        """Reject settings that need later tokens or unbounded memory."""
        if self.kind not in ("longformer", "tcn"):
            raise ConfigError(f"temporal.causal needs kind longformer or tcn, not {self.kind!r}")
        if self.dilation != ((1,),):
            raise ConfigError("temporal.causal and temporal.dilation exclude each other")
        if self.token_inputs in _LOOK_AHEAD:
            raise ConfigError(
                f"temporal.causal: token_inputs {self.token_inputs} compares a token with later "
                f"ones: use {_TOKEN_INPUTS[1]}"
            )

    def _check_dilation(self) -> None:
        if len(self.dilation) not in (1, self.num_layers):
            raise ConfigError("temporal.dilation: one row, or one for each layer")
        if any(len(row) not in (1, self.num_heads) for row in self.dilation):
            raise ConfigError("temporal.dilation: a row has one number, or one for each head")
        if any(step < 1 for row in self.dilation for step in row):
            raise ConfigError("temporal.dilation must be 1 or more")

    def _check_kind(self) -> None:
        if self.transformers_class is not None:
            self._check_transformers()
            return
        if self.kind not in _KINDS:
            raise ConfigError(
                f"temporal.kind must be {', '.join(_KINDS)} or {_TRANSFORMERS}CLASS, not "
                f"{self.kind!r}{suggestion(self.kind, _KINDS)}"
            )
        if self.arguments:
            raise ConfigError(f"temporal.arguments needs a kind {_TRANSFORMERS}CLASS")
        if self.kind == "full" and self.dilation != ((1,),):
            raise ConfigError("temporal.dilation needs the kind longformer")
        if self.kind == "tcn":
            self._check_tcn()
        elif self.num_stages > 1 or self.members > 1 or self.local_attention:
            raise ConfigError(
                "temporal.num_stages, temporal.members and temporal.local_attention need the kind "
                "tcn"
            )

    def _check_tcn(self) -> None:
        """Reject settings that have no effect on a convolutional network."""
        others = {
            "dilation": self.dilation != ((1,),),
            "attention": self.attention != "learned",
            "num_global_tokens": self.num_global_tokens != 1,
            "positions": self.positions != "none",
        }
        for name, given in others.items():
            if given:
                hint = " (write positions = none)" if name == "positions" else ""
                raise ConfigError(f"temporal.{name} has no effect on the kind tcn{hint}")
        if not 0 <= self.num_layers <= _MOST_TCN_LAYERS:
            raise ConfigError(
                f"temporal.num_layers of a tcn must be from 0 to {_MOST_TCN_LAYERS}, because the "
                "dilation doubles with each layer"
            )
        if self.num_stages > 1 and not self.num_layers:
            raise ConfigError("temporal.num_stages: a linear model (num_layers 0) has one stage")
        if self.local_attention and not (self.num_layers and self.hidden_size):
            raise ConfigError("temporal.local_attention needs num_layers and hidden_size")

    def _check_transformers(self) -> None:
        """Reject settings that a ``transformers`` class would ignore."""
        ours = {
            "dilation": self.dilation != ((1,),),
            "attention": self.attention != "learned",
            "global_attention": not self.global_attention,
            "positions": self.positions != "learned",
        }
        for name, given in ours.items():
            if given:
                hint = " (write positions = learned)" if name == "positions" else ""
                raise ConfigError(
                    f"temporal.{name} has no effect on {self.kind}: leave it out{hint}"
                )

    @property
    def transformers_class(self) -> str | None:
        """Name of the ``transformers`` class, or None."""
        return (
            self.kind.removeprefix(_TRANSFORMERS) if self.kind.startswith(_TRANSFORMERS) else None
        )

    @property
    def attention_windows(self) -> tuple[int, ...]:
        """The attention window of each layer."""
        if len(self.attention_window) == 1:
            return self.attention_window * self.num_layers
        return self.attention_window

    @property
    def dilations(self) -> tuple[tuple[int, ...], ...]:
        """The dilation of each head (inner) in each layer (outer)."""
        rows = self.dilation * (self.num_layers if len(self.dilation) == 1 else 1)
        return tuple(row * (self.num_heads if len(row) == 1 else 1) for row in rows)

    def describe(self) -> str:
        """Return a short description: ``3 layers, 12 heads, window 32``."""
        if self.kind == "tcn":
            return self._describe_tcn()
        parts = [f"{self.num_layers} layers", f"{self.num_heads} heads"]
        if self.kind == "longformer":
            parts.append(f"window {', '.join(map(str, sorted(set(self.attention_windows))))}")
        else:
            parts.insert(0, self.kind)
        steps = sorted({step for row in self.dilation for step in row})
        if steps != [1]:
            parts.append(f"dilation {', '.join(map(str, steps))}")
        if self.num_global_tokens > 1:
            parts.append(f"{self.num_global_tokens} global tokens")
        if self.causal:
            parts.append("causal")
        if self.attention != "learned":
            parts.append(f"{self.attention} attention")
        if self.token_inputs != "feature":
            parts.append(self.token_inputs)
        return ", ".join(parts)

    def _describe_tcn(self) -> str:
        parts = ["tcn" if self.num_layers else "linear"]
        if self.num_layers:
            parts += [f"{self.num_stages} stages", f"{self.num_layers} layers"]
        if self.local_attention:
            parts.append("local attention")
        if self.members > 1:
            parts.append(f"{self.members} members")
        if self.causal:
            parts.append("causal")
        return ", ".join([*parts, self.token_inputs])

    @classmethod
    def from_text(cls, text: str) -> TemporalConfig:
        """Read a kind given in place of a table: ``temporal = "transformers:BertModel"``."""
        return cls(**table_of(text))


def check_causal_norm(temporal: TemporalConfig, feature_norm: str) -> None:
    """Check that a causal encoder has no feature normalisation over the whole video.

    Raises:
        ConfigError: it has.
    """
    if temporal.causal and feature_norm == "video_mean":
        raise ConfigError(
            "temporal.causal: feature_norm video_mean needs the whole video: use running_mean"
        )


def table_of(kind: str) -> dict[str, Any]:
    """Return the table for a kind that is given by its name alone."""
    if kind.startswith(_TRANSFORMERS):
        return {"kind": kind, "positions": "learned"}
    return {"kind": kind, "positions": "none"} if kind == "tcn" else {"kind": kind}
