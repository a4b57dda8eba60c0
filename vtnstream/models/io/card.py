"""The model card: a ``README.md`` that describes a model folder."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from vtnstream.atomic import whole_file
from vtnstream.config import ModelConfig
from vtnstream.errors import ModelError, OutputError
from vtnstream.models.architectures import build_model
from vtnstream.models.io.checkpoint import read_config
from vtnstream.models.io.description import config_facts

CARD_FILE = "README.md"
_TRAINING_FILE = "train.json"
"""Written by ``vtnstream train`` beside a model. Only its results go into the card, since its
settings name files on the machine of the author."""
_LARGEST_FILE = 10 * 2**20
_ARCHITECTURES = {
    "vtn": "A Video Transformer Network (Neimark et al., 2021) for videos of any length: an image "
    "backbone on each sampled frame, a Longformer over the whole sequence.",
    "vivit": "A Video Vision Transformer (Arnab et al., 2021) over tubelets of frames.",
}
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!])")


def model_card(
    folder: str | Path,
    *,
    hub_name: str | None = None,
    license: str | None = None,
    notes: Sequence[str] = (),
) -> str:
    """Return the ``README.md`` of the folder, or one made from its config and training results.

    Args:
        folder: a model folder.
        hub_name: ``org/name`` on the Hub, for the examples.
        license: SPDX identifier, such as ``cc-by-4.0``.
        notes: sentences about its origin, in Markdown.

    Returns:
        Markdown with the metadata of the Hub at the top.

    Raises:
        ModelError: it is not a model folder, or its records cannot be read.
    """
    folder = Path(folder)
    config = read_config(folder)
    if has_card(folder):
        return _read(folder / CARD_FILE)
    metadata: dict[str, Any] = {
        "library_name": "vtnstream",
        "pipeline_tag": "video-classification",
        "tags": ["video", config.architecture],
    }
    if license is not None:
        metadata["license"] = license
    parts = [
        f"---\n{yaml.safe_dump(metadata, sort_keys=False)}---\n\n# {_plain(config.name)}",
        _ARCHITECTURES[config.architecture],
        *notes,
        _section("Use", _use(hub_name or "FOLDER", config)),
        _section("Model", _table(_facts(config))),
        *_labels(config),
        *_training(folder / _TRAINING_FILE),
        _section("Licence", license or "Not stated."),
    ]
    return "\n\n".join(parts) + "\n"


def has_card(folder: Path) -> bool:
    """Return whether the folder has a card. An empty file does not count: ``> README.md`` in a
    shell creates one before the command runs."""
    path = folder / CARD_FILE
    return path.is_file() and path.stat().st_size > 0


def write_card(folder: Path, text: str) -> None:
    """Write a card into a model folder.

    Raises:
        OutputError: it cannot be written.
    """
    path = folder / CARD_FILE
    try:
        with whole_file(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error


def _use(name: str, config: ModelConfig) -> str:
    commands = []
    if config.head.labels:
        commands.append(f"vtnstream classify VIDEO --model {name}")
    commands.append(f"vtnstream timeline VIDEO --model {name}")
    lines = "\n".join(commands)
    return f"```sh\n{lines}\n```"


def _facts(config: ModelConfig) -> list[tuple[str, str]]:
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in build_model(config).parameters())
    return [*config_facts(config), ("parameters", f"{count / 1e6:.1f} M")]


def _labels(config: ModelConfig) -> list[str]:
    head = config.head
    named = [
        (f"Classes of a video{f': {part.name}' if part.name else ''}", part.labels)
        for part in head.class_heads
    ]
    named.append(("Classes of a moment", head.dense_labels))
    return [_section(title, ", ".join(map(_plain, labels))) for title, labels in named if labels]


def _training(path: Path) -> list[str]:
    """Return the section of training results from ``train.json``, if there is one."""
    if not path.is_file():
        return []
    try:
        result = json.loads(_read(path))["result"]
        best = result["best"]
        rows = [
            ("task", str(result["task"])),
            ("learned from", f"{int(result['num_train'])} samples"),
            ("held out", f"{int(result['num_validation'])} samples"),
            ("best epoch", str(int(best["epoch"]))),
            ("loss", f"{float(best['loss']):.4g}"),
            *((f"validation {name}", f"{float(v):.4g}") for name, v in best["validation"].items()),
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path}: not a training record; remove or repair it") from error
    return [_section("Training", _table(rows))]


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ModelError(f"{path}: too large to be read here")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot be read as text ({error})") from error


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n{text}"


def _table(rows: Sequence[tuple[str, str]]) -> str:
    lines = [f"| {_plain(name)} | {_plain(value)} |" for name, value in rows]
    return "\n".join(["| | |", "|---|---|", *lines])


def _plain(text: str) -> str:
    """Escape Markdown in text that users chose, and remove line breaks."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))
