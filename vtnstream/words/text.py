"""Text towers of transformers: the only file of this package that imports transformers.

The tower is built without allocating memory and filled with its own tensors only (the image
tower's are not read). It is used once and freed.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vtnstream.errors import CheckpointError, ModelError, UsageError
from vtnstream.models.io.weights import one_line, some
from vtnstream.optional import require
from vtnstream.types import FloatArray
from vtnstream.words.folder import CONFIG_FILE, WordsConfig
from vtnstream.words.prompts import canonical
from vtnstream.words.tensors import text_tensors
from vtnstream.words.vectors import unit

EXTRA = "words"
_BATCH = 32
_GEMMA_VOCABULARY = 200_000
"""SigLIP 2 reads Gemma's tokens, 256,000 of them; SigLIP has 32,000."""

_SHOWN = 60


def text_vectors(folder: Path, config: WordsConfig, prompts: Sequence[str]) -> FloatArray:
    """Return unit vectors (n, E) float32 of prompts, in their order.

    Raises:
        ModelError: the tower or its tokeniser cannot be loaded.
        UsageError: a prompt is empty, or has more tokens than the tower reads.
        MissingExtraError: the tokeniser needs a library that is not installed.
    """
    with _quiet():
        tokenise = make_tokeniser(folder, config)
        tokens = tokenise(prompts)
        model = load_text_tower(folder)
    vectors = np.empty((len(prompts), config.size), np.float32)
    for start in range(0, len(prompts), _BATCH):
        part = {name: tensor[start : start + _BATCH] for name, tensor in tokens.items()}
        with torch.inference_mode():
            found = pooled(model.get_text_features(**part))  # B E
        if found.shape[-1] != config.size:
            raise ModelError(
                f"{folder}: the text tower gives {found.shape[-1]} numbers and the image tower "
                f"{config.size}: they do not belong together"
            )
        vectors[start : start + len(found)] = found.float().numpy()
    del model
    gc.collect()
    if not np.isfinite(vectors).all():
        raise ModelError(f"{folder}: the text tower gives numbers that are not finite")
    return unit(vectors)


def pooled(output: Any) -> Tensor:
    """Return the vectors (B, E) of ``get_text_features``.

    transformers 4 returns a tensor, transformers 5 an object that contains it.
    """
    found = output if isinstance(output, Tensor) else getattr(output, "pooler_output", None)
    if not isinstance(found, Tensor) or found.ndim != 2:
        raise ModelError(
            f"transformers returned {type(output).__name__} without vectors of text: use a version "
            "that vtnstream names"
        )
    return found


# ------------------------------------------------------------------------------ tokens


def make_tokeniser(
    folder: Path, config: WordsConfig
) -> Callable[[Sequence[str]], dict[str, Tensor]]:
    """Return a function from prompts to the input tensors of the text tower.

    Inputs are padded to the tower's length. For SigLIP they are in canonical form and have no
    mask, as in its training.

    Raises:
        ModelError: the tokeniser's files are missing or damaged.
        MissingExtraError: SigLIP 1 needs sentencepiece.
    """
    tokeniser = _load_tokeniser(folder, config)
    is_clip = config.family == "clip"

    def tokenise(prompts: Sequence[str]) -> dict[str, Tensor]:
        texts = list(prompts) if is_clip else [canonical(prompt) for prompt in prompts]
        for prompt, text in zip(prompts, texts, strict=True):
            if not text.strip():
                raise UsageError(f"prompt {prompt!r} has no letter or digit: write words")
        lengths = [len(row) for row in tokeniser(texts, padding=False)["input_ids"]]
        for prompt, length in zip(prompts, lengths, strict=True):
            if length > config.max_tokens:
                shown = prompt if len(prompt) <= _SHOWN else f"{prompt[:_SHOWN]}..."
                raise UsageError(
                    f"prompt {shown!r} has {length} tokens, the model reads {config.max_tokens}: "
                    "shorten it, or split it with |"
                )
        rows = tokeniser(
            texts, padding="max_length", max_length=config.max_tokens, return_tensors="pt"
        )
        if int(rows["input_ids"].max()) >= config.vocabulary:
            raise ModelError(
                f"{folder}: its tokeniser has more tokens than the {config.vocabulary} of its text "
                "tower: they do not belong together"
            )
        names = ("input_ids", "attention_mask") if is_clip else ("input_ids",)
        return {name: rows[name] for name in names}

    return tokenise


def _load_tokeniser(folder: Path, config: WordsConfig) -> Any:
    import transformers

    options: dict[str, Any] = {"local_files_only": True}
    if config.family == "clip":
        kind = transformers.AutoTokenizer
    elif config.family == "siglip2" or config.vocabulary >= _GEMMA_VOCABULARY:
        # its class by name: the repositories of fixed size say SigLIP or Gemma, whose text is
        # not in lower case
        kind = getattr(transformers, "Siglip2Tokenizer", transformers.AutoTokenizer)
    else:
        require("sentencepiece", EXTRA)
        kind = transformers.SiglipTokenizer
    try:
        tokeniser = kind.from_pretrained(str(folder), **options)
    except Exception as error:  # transformers raises all kinds
        raise ModelError(
            f"{folder}: its tokeniser cannot be loaded, a file is missing or damaged "
            f"({one_line(error)})"
        ) from error
    tokeniser.padding_side = "right"
    return tokeniser


# ------------------------------------------------------------------------------- tower


def load_text_tower(folder: Path) -> Any:
    """The model of a folder with the weights of its text tower; its image tower has no memory.

    Raises:
        CheckpointError: tensors of the text tower are missing, unknown or misshapen.
        ModelError: transformers cannot build it.
    """
    from transformers import AutoConfig, AutoModel

    state = text_tensors(folder)
    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
        with torch.device("meta"):
            model = AutoModel.from_config(config, attn_implementation="sdpa")
    except Exception as error:  # transformers raises all kinds
        raise ModelError(
            f"{folder / CONFIG_FILE}: transformers cannot build it ({one_line(error)})"
        ) from error
    state = {name: tensor.float() for name, tensor in state.items() if not _is_computed(name)}
    wanted = {
        name: tuple(tensor.shape)
        for name, tensor in model.state_dict().items()
        if name.startswith(("text_model.", "text_projection."))
    }
    missing, unknown = set(wanted) - set(state), set(state) - set(wanted)
    shapes = {n for n in set(wanted) & set(state) if tuple(state[n].shape) != wanted[n]}
    for names, what in ((missing, "missing"), (unknown, "unknown"), (shapes, "of another shape")):
        if names:
            raise CheckpointError(f"{folder}: tensors of the text tower are {what}: {some(names)}")
    model.load_state_dict(state, strict=False, assign=True)
    _fill_positions(model.text_model)
    return model.eval()


def _is_computed(name: str) -> bool:
    return name.endswith("position_ids")


def _fill_positions(module: nn.Module) -> None:
    """Fill the buffers that no file contains: the position ids."""
    for name, part in module.named_modules():
        for key, buffer in part.named_buffers(recurse=False):
            if not buffer.is_meta:
                continue
            if key != "position_ids":
                raise ModelError(
                    f"this version of transformers computes {name}.{key} when it builds a text "
                    "tower: use a version that vtnstream names"
                )
            part.register_buffer(
                key, torch.arange(buffer.shape[-1]).expand((1, -1)), persistent=False
            )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' warnings about tokenisers and lengths, which are checked here."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
