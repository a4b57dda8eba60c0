"""Any encoder of the ``transformers`` library as the temporal encoder (paper section 3.2: the
modules are exchangeable). The only file that imports ``transformers``, and only when a config
names a class of it.

Such an encoder sees a sequence whole: its memory grows with the length, and with the square of
it where the class works on all pairs. Sequences are padded here, to the multiple the class
wants: its own padding looks up the embedding of a word, and there are no words.
"""

from __future__ import annotations

import copy
import inspect
import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vtnstream.config import TemporalConfig
from vtnstream.errors import ModelError
from vtnstream.models.io import weights
from vtnstream.models.layers.positions import NUM_RESERVED, sinusoidal_table, table_rows
from vtnstream.registry import suggestion

_SHAPE = ("hidden_size", "num_hidden_layers", "num_attention_heads")
"""What a class must take from our config under these names (or its own words for them)."""

_RESERVED = frozenset({*_SHAPE, "vocab_size", "pad_token_id", "architectures", "auto_map", "dtype"})
"""Arguments that are ours to set, or would fetch code."""

PROBE_TOKENS = 16


def _library() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other libraries, when they are imported
        import transformers

    return transformers


def _find_class(name: str) -> Any:
    """The model class of this name.

    Raises:
        ModelError: there is none, or it is no encoder of embeddings.
    """
    library = _library()
    models = [each for each in dir(library) if each.endswith(("Model", "Encoder"))]
    found: Any = getattr(library, name, None) if name in models else None
    if not isinstance(found, type) or not issubclass(found, library.PreTrainedModel):
        raise ModelError(
            f"temporal.kind: transformers has no model class {name!r}{suggestion(name, models)}"
        )
    takes = inspect.signature(getattr(found, "forward")).parameters  # noqa: B009
    for argument, why in (
        ("inputs_embeds", "it cannot read features"),
        ("attention_mask", "padding would change its answers"),
    ):
        if argument not in takes:
            raise ModelError(f"temporal.kind: {name} takes no {argument}, so {why}")
    return found


def _arguments(config: TemporalConfig, hidden_size: int, default: Any) -> dict[str, Any]:
    """Those arguments of the class's config that it knows.

    Args:
        config: ours.
        hidden_size: D.
        default: an instance of the class's config.

    Raises:
        ModelError: an argument is unknown, not ours to hand on, or no plain value.
    """
    known = {
        "hidden_size": hidden_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "intermediate_size": config.intermediate_size,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.attention_dropout,
        "max_position_embeddings": config.max_positions,
        "attention_window": list(config.attention_windows),
        "type_vocab_size": 2,
        "vocab_size": 1,  # the table of words is never read
        "pad_token_id": None,
    }
    arguments = {name: value for name, value in known.items() if hasattr(default, name)}
    for name, value in config.arguments.items():
        if name in _RESERVED or name.startswith(("_", "attn_", "quantization")):
            raise ModelError(f"temporal.arguments: {name} is vtnstream's to set")
        if not hasattr(default, name):
            close = suggestion(name, default.to_dict())
            raise ModelError(f"temporal.arguments: {type(default).__name__} has no {name}{close}")
        if not _is_plain(value):
            raise ModelError(f"temporal.arguments: {name} is no number, name or list of these")
        arguments[name] = value
    return arguments


def _is_plain(value: Any) -> bool:
    """Nothing that could name a place to fetch something from."""
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    if isinstance(value, Mapping):
        return False
    return not (isinstance(value, str) and "/" in value)


def _build(config: TemporalConfig, hidden_size: int) -> Any:
    """The model of the class that a config names, untrained.

    Raises:
        ModelError: no such class, or it refuses the config; one line.
    """
    name = config.transformers_class or ""
    found = _find_class(name)
    try:
        default = found.config_class()
        chosen = found.config_class(**_arguments(config, hidden_size, default))
        options = {}
        if "add_pooling_layer" in inspect.signature(found.__init__).parameters:
            options["add_pooling_layer"] = False
        model = found(chosen, **options)
    except ModelError:
        raise
    except Exception as error:  # configs and models of the library raise all kinds
        raise ModelError(
            f"temporal.kind: {name} cannot be built so ({weights.one_line(error)})"
        ) from error
    wanted = (hidden_size, config.num_layers, config.num_heads)
    if tuple(getattr(chosen, part, None) for part in _SHAPE) != wanted:
        raise ModelError(f"temporal.kind: {name} does not take {', '.join(_SHAPE)}")
    return model


class TransformersEncoder(nn.Module):
    """An encoder of ``transformers`` under the interface of
    :class:`~vtnstream.models.vtn.temporal.TemporalEncoder`.

    [CLS] and other global tokens come first, with token type 1; where the class knows global
    attention, they have it. Learned positions are the reference's: ``index % (P - 2)``, two rows
    reserved for [CLS] and padding. Classes with positions of another kind get the index.

    Raises:
        ModelError: the class does not exist, cannot serve, or refuses the config.
    """

    def __init__(self, config: TemporalConfig, hidden_size: int) -> None:
        super().__init__()
        self.config = config
        self.hidden_size = hidden_size
        self.model: Any = _build(config, hidden_size)
        self._takes = frozenset(inspect.signature(self.model.forward).parameters)
        self._looks_ahead = False
        self.reset_parameters()

    @property
    def dtype(self) -> torch.dtype:
        """What tokens are worked in."""
        found: torch.dtype = next(self.model.parameters()).dtype
        return found

    def in_precision(self, dtype: torch.dtype) -> TransformersEncoder:
        """A copy that works in ``dtype``, [CLS] too."""
        return copy.deepcopy(self).to(dtype)

    def reset_parameters(self, positions: str = "sinusoidal") -> None:
        """The class starts its weights itself; a learned position table starts with sinusoids
        of amplitude 1, or stays as the class has it (``normal``)."""
        table = self._position_table()
        if table is not None and positions == "sinusoidal":
            with torch.no_grad():
                rows = sinusoidal_table(*table.weight.shape).to(table.weight.device)
                table.weight[:-NUM_RESERVED] = rows[:-NUM_RESERVED]

    def _position_table(self) -> nn.Embedding | None:
        for name, part in self.model.named_modules():
            if name.endswith("position_embeddings") and isinstance(part, nn.Embedding):
                return part
        return None

    def forward(
        self,
        tokens: Tensor,
        cls: Tensor,
        *,
        padding_mask: Tensor | None = None,
        indices: Tensor | None = None,
        cls_only: bool = False,
    ) -> Tensor:
        """As :meth:`vtnstream.models.vtn.temporal.TemporalEncoder.forward`, all of it at once.

        Raises:
            ModelError: the class does not let [CLS] see later tokens, or is too short for them.
        """
        batch, length = tokens.shape[:2]
        if indices is None:
            indices = torch.arange(length, device=tokens.device).expand(batch, -1)
        if padding_mask is None:
            padding_mask = tokens.new_ones(batch, length, dtype=torch.bool)
        if not torch.compiler.is_compiling():
            self._check_looks_ahead(tokens)
        states = self._run(tokens, cls, padding_mask, indices)  # (B, G + T, D)
        if cls_only:
            return states[:, :1]
        return torch.cat((states[:, :1], states[:, cls.shape[1] :]), dim=1)

    def _run(self, tokens: Tensor, cls: Tensor, real: Tensor, indices: Tensor) -> Tensor:
        """(B, T, D) and (B, G, D) -> (B, G + T, D)."""
        length, num_globals = tokens.shape[1], cls.shape[1]
        total = length + num_globals
        extra = -total % self._multiple()
        self._fit_attention(total + extra)
        states = torch.cat((cls.to(tokens.dtype), tokens), dim=1)
        globals_first = torch.zeros_like(real[:, :1]).expand(-1, num_globals)
        mask = torch.cat((~globals_first, real), 1)  # (B, G + T)
        arguments: dict[str, Any] = {
            "inputs_embeds": F.pad(states, (0, 0, 0, extra)),
            "attention_mask": F.pad(mask, (0, extra)).long(),
        }
        first = F.pad((~globals_first).long(), (0, length + extra))  # 1 for global tokens
        if "token_type_ids" in self._takes and getattr(self.model.config, "type_vocab_size", 0) > 1:
            arguments["token_type_ids"] = first
        if "global_attention_mask" in self._takes:
            arguments["global_attention_mask"] = first
        if "position_ids" in self._takes:
            arguments["position_ids"] = self._positions(indices, real, num_globals, extra)
        else:
            self._check_room(total + extra)
        encoded: Tensor = self.model(**arguments).last_hidden_state
        return encoded[:, :total]

    def _positions(self, indices: Tensor, real: Tensor, num_globals: int, extra: int) -> Tensor:
        """(B, G + T + extra) position ids."""
        table = self._position_table()
        if table is None:  # rotary and the like: [CLS] first, then time
            return F.pad(indices + 1, (num_globals, extra))
        rows = table.num_embeddings
        return F.pad(
            F.pad(table_rows(indices, real, rows), (num_globals, 0), value=rows - NUM_RESERVED),
            (0, extra),
            value=rows - 1,
        )

    def _multiple(self) -> int:
        """What the length must be a multiple of."""
        config = self.model.config
        window = getattr(config, "attention_window", 1)
        windows = window if isinstance(window, (list, tuple)) else [window]
        block = config.block_size if hasattr(self.model, "set_attention_type") else 1
        return math.lcm(block, *windows)

    def _fit_attention(self, length: int) -> None:
        """BigBird leaves its sparse attention for good at the first short sequence: it is told
        each time, so that an answer does not depend on what was asked before."""
        if not hasattr(self.model, "set_attention_type"):
            return
        config = self.model.config
        sparse = length > (5 + 2 * config.num_random_blocks) * config.block_size
        self.model.set_attention_type(config.attention_type if sparse else "original_full")

    def _check_room(self, length: int) -> None:
        room = getattr(self.model.config, "max_position_embeddings", None)
        if room is not None and length > room:
            raise ModelError(
                f"{self.config.kind} has room for {room} tokens and meets {length}: raise "
                "temporal.max_positions"
            )

    @torch.no_grad()
    def _check_looks_ahead(self, like: Tensor) -> None:
        """A decoder's first token, [CLS], sees itself alone: every video would look the same.

        Raises:
            ModelError: the class is one.
        """
        if self._looks_ahead:
            return
        training = self.training
        self.eval()
        length = max(PROBE_TOKENS, self._multiple()) - 1
        random = torch.Generator().manual_seed(0)
        tokens = torch.randn(2, length, self.hidden_size, generator=random).to(like)
        tokens[1, :-1] = tokens[0, :-1]
        real = torch.ones(2, length, dtype=torch.bool, device=like.device)
        places = torch.arange(length, device=like.device).expand(2, -1)
        first = self._run(tokens, torch.zeros_like(tokens[:, :1]), real, places)[:, 0]
        self.train(training)
        if torch.equal(first[0], first[1]):
            raise ModelError(
                f"{self.config.kind} does not let [CLS] see later tokens: it is a decoder"
            )
        self._looks_ahead = True
