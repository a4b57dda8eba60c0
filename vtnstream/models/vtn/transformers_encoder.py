"""Any encoder of the ``transformers`` library as the temporal encoder (paper section 3.2).

This is the only module that imports ``transformers``, and only when a config names one of its
classes. Such an encoder needs the whole sequence at once: memory grows with the length, and with
its square where the class computes all pairs. Sequences are padded here to the multiple that the
class needs, because its own padding looks up word embeddings, and there are none.
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
from vtnstream.wording import plural

_SHAPE = ("hidden_size", "num_hidden_layers", "num_attention_heads")
"""Fields that the config of a class must have under these names or aliases of them."""

_RESERVED = frozenset({*_SHAPE, "vocab_size", "pad_token_id", "architectures", "auto_map", "dtype"})
"""Arguments that vtnstream sets itself, or that would download code."""

_PROBE_TOKENS = 16


def _library() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other libraries, when they are imported
        import transformers

    return transformers


def _find_class(name: str) -> Any:
    """Return the model class of this name.

    Raises:
        ModelError: there is none, or it does not encode embeddings.
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
        ("attention_mask", "padding would change its results"),
    ):
        if argument not in takes:
            raise ModelError(f"temporal.kind: {name} takes no {argument}, so {why}")
    return found


def _arguments(config: TemporalConfig, hidden_size: int, default: Any) -> dict[str, Any]:
    """Return the arguments for the config of a class.

    Args:
        config: the encoder's part of the model's config.
        hidden_size: D.
        default: an instance of the class's config; only its attributes are set.

    Raises:
        ModelError: an argument is unknown, reserved, or not a plain value.
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
        "vocab_size": 1,  # word embeddings are not used
        "pad_token_id": None,
    }
    arguments = {name: value for name, value in known.items() if hasattr(default, name)}
    for name, value in config.arguments.items():
        if name in _RESERVED or name.startswith(("_", "attn_", "quantization")):
            raise ModelError(f"temporal.arguments: {name} is set by vtnstream")
        if not hasattr(default, name):
            close = suggestion(name, default.to_dict())
            raise ModelError(f"temporal.arguments: {type(default).__name__} has no {name}{close}")
        if not _is_plain(value):
            raise ModelError(
                f"temporal.arguments: {name} must be a number, a name or a list of these"
            )
        arguments[name] = value
    return arguments


def _is_plain(value: Any) -> bool:
    """Return whether a value cannot be the address of something to download."""
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    if isinstance(value, Mapping):
        return False
    return not (isinstance(value, str) and "/" in value)


def _build(config: TemporalConfig, hidden_size: int) -> Any:
    """Build an untrained model of the class that a config names.

    Raises:
        ModelError: there is no such class, or it does not accept the config.
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
    except Exception as error:  # configs and models of the library raise many kinds of error
        raise ModelError(
            f"temporal.kind: {name} cannot be built from this config ({weights.one_line(error)})"
        ) from error
    wanted = (hidden_size, config.num_layers, config.num_heads)
    if tuple(getattr(chosen, part, None) for part in _SHAPE) != wanted:
        raise ModelError(f"temporal.kind: {name} does not take {', '.join(_SHAPE)}")
    return model


class TransformersEncoder(nn.Module):
    """An encoder of ``transformers`` with the interface of
    :class:`~vtnstream.models.vtn.temporal.TemporalEncoder`.

    Global tokens come first and have token type 1, and global attention where the class has it.
    Learned positions are those of the reference, ``index % (P - 2)``, with two rows reserved for
    [CLS] and padding. Classes with other kinds of positions get the index.

    Args:
        config: the encoder's part of the model's config, with ``kind = "transformers:NAME"``.
        hidden_size: D.

    Raises:
        ModelError: the class does not exist, is not suitable, or does not accept the config.
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
        """The dtype that tokens are encoded in."""
        found: torch.dtype = next(self.model.parameters()).dtype
        return found

    def in_precision(self, dtype: torch.dtype) -> TransformersEncoder:
        """Return a copy that computes in ``dtype``, for [CLS] as well."""
        return copy.deepcopy(self).to(dtype)

    def reset_parameters(self, positions: str = "sinusoidal") -> None:
        """Initialise the position table; the class initialised its other weights itself.

        Args:
            positions: ``sinusoidal`` sets a learned table to sinusoids of amplitude 1; ``normal``
                keeps the initial values of the class.
        """
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
        """Encode tokens and global tokens.

        Arguments and result are those of
        :meth:`vtnstream.models.vtn.temporal.TemporalEncoder.forward`.

        Raises:
            ModelError: [CLS] cannot attend to later tokens in this class, or the sequence is longer
                than its position table.
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
        """Map tokens (B, T, D) and global tokens (B, G, D) to (B, G + T, D)."""
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
        """Return the position ids (B, G + T + extra)."""
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
        """Return the number that the length must be a multiple of."""
        config = self.model.config
        window = getattr(config, "attention_window", 1)
        windows = window if isinstance(window, (list, tuple)) else [window]
        block = config.block_size if hasattr(self.model, "set_attention_type") else 1
        return math.lcm(block, *windows)

    def _fit_attention(self, length: int) -> None:
        """Choose BigBird's attention for this length.

        By itself BigBird leaves sparse attention permanently at the first short sequence, and
        results would depend on earlier calls.
        """
        if not hasattr(self.model, "set_attention_type"):
            return
        config = self.model.config
        sparse = length > (5 + 2 * config.num_random_blocks) * config.block_size
        self.model.set_attention_type(config.attention_type if sparse else "original_full")

    def _check_room(self, length: int) -> None:
        room = getattr(self.model.config, "max_position_embeddings", None)
        if room is not None and length > room:
            raise ModelError(
                f"{self.config.kind} has room for {plural(room, 'token')}, not for {length}: raise "
                "temporal.max_positions"
            )

    @torch.no_grad()
    def _check_looks_ahead(self, like: Tensor) -> None:
        """Check once that [CLS] attends to later tokens.

        In a decoder the first token attends only to itself, and every video would get the same
        class.

        Raises:
            ModelError: the class is a decoder.
        """
        if self._looks_ahead:
            return
        training = self.training
        self.eval()
        length = max(_PROBE_TOKENS, self._multiple()) - 1
        random = torch.Generator().manual_seed(0)
        tokens = torch.randn(2, length, self.hidden_size, generator=random).to(like)
        tokens[1, :-1] = tokens[0, :-1]
        real = torch.ones(2, length, dtype=torch.bool, device=like.device)
        places = torch.arange(length, device=like.device).expand(2, -1)
        first = self._run(tokens, torch.zeros_like(tokens[:, :1]), real, places)[:, 0]
        self.train(training)
        if torch.equal(first[0], first[1]):
            raise ModelError(
                f"{self.config.kind} is a decoder: [CLS] does not attend to later tokens"
            )
        self._looks_ahead = True
