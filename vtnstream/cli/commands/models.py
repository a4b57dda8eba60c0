"""``vtnstream models``: list and show presets, published models and trained models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vtnstream.cli.commands.share import card, export, push
from vtnstream.cli.commands.weights import download, import_
from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.fields import attach, option
from vtnstream.cli.framework.tables import print_facts, print_table
from vtnstream.cli.framework.types import complete_files, format_size
from vtnstream.cli.options import running, shared
from vtnstream.config import ModelConfig
from vtnstream.config.loading import to_dict
from vtnstream.config.shipped import BUNDLED_MODEL, bundled_model
from vtnstream.errors import VtnstreamError
from vtnstream.wording import plural

if TYPE_CHECKING:
    from vtnstream.models.io.published import PublishedModel
    from vtnstream.words.published import PublishedWords


@click.group()
def models() -> None:
    """List, show, download and share models: presets, published models and trained models."""


for command in (import_, download, card, push, export):
    models.add_command(command)


_LIST_EXAMPLES = """
vtnstream models list
vtnstream models list experiments/
vtnstream models list --backbones 'deit*patch16*'
"""


@models.command("list", cls=Command, examples=_LIST_EXAMPLES)
@click.argument("folders", nargs=-1, shell_complete=complete_files)
@attach(
    option(
        "--backbones",
        section="List",
        settable=False,
        metavar="PATTERN",
        help="List the timm backbones that match this pattern instead ('*' for all).",
    )
)
@shared.as_json
@running.messages
@click.pass_obj
def list_(console: Console, /, **values: Any) -> None:
    """List presets, published models, and the trained models in FOLDERS.

    FOLDERS are by default the current directory and ./models.
    """
    if values["backbones"] is not None:
        _list_backbones(console, values["backbones"], as_json=values["json"])
        return
    from vtnstream.models.io.published import published_models
    from vtnstream.models.presets import presets

    published = published_models()
    found = [(name, "preset", config) for name, config in presets().items()]
    found += [(name, "published", model.config) for name, model in published.items()]
    from vtnstream.words.published import published_words

    words = published_words()
    found.append((BUNDLED_MODEL, "bundled", _read(bundled_model())))
    for folder in _model_folders(values["folders"] or (".", "models")):
        try:
            found.append((str(folder), "trained", _read(folder)))
        except VtnstreamError as error:
            console.warn(str(error))
    if values["json"]:
        documents = [_document(*item, published.get(item[0])) for item in found]
        documents += [_words_document(model) for model in words.values()]
        console.out(json.dumps(documents, indent=2))
        return
    headers = ("model", "kind", "backbone", "layers", "sampling", "labels")
    rows = [
        (
            name,
            kind,
            config.backbone.name,
            _temporal_layers(config),
            config.sampling.describe(config.frames_per_token),
            _labels(config),
        )
        for name, kind, config in found
    ]
    print_table(console, headers, rows, right=("layers",))
    for model in published.values():
        console.out("")
        print_facts(console, _source_facts(model))
    for one in words.values():
        console.out("")
        print_facts(console, _words_facts(one))
    console.say("presets are untrained: train one with `vtnstream train --preset NAME`")


def _document(
    name: str, kind: str, config: ModelConfig, published: PublishedModel | None
) -> dict[str, Any]:
    document: dict[str, Any] = {"name": name, "kind": kind, "config": to_dict(config)}
    if published is not None:
        document |= {"source": to_dict(published.source), "here": published.is_here}
    return document


def _words_document(model: PublishedWords) -> dict[str, Any]:
    document = {"name": model.name, "kind": "image-text", "source": to_dict(model.source)}
    return {**document, "here": model.is_here, "commit": model.commit}


def _words_facts(model: PublishedWords) -> list[tuple[str, str]]:
    """Return the source of an image-text model, and the commit that it is pinned to."""
    source = model.source
    here = "yes" if model.is_here else f"no: vtnstream models download {model.name}"
    return [
        ("image-text", model.name),
        ("here", here),
        ("for", source.about),
        ("licence", source.license),
        ("from", f"hf://{source.repository}"),
        ("size", source.size),
        ("commit", model.commit or "found at the first download"),
    ]


def _source_facts(model: PublishedModel) -> list[tuple[str, str]]:
    """Return the source of a published model; unknown values are shown as unknown."""
    source = model.source
    size = format_size(source.size_bytes) if source.size_bytes else "unknown"
    origin = f" ({source.sha256_from})" if source.sha256_from else ""
    known = f"{source.sha256}{origin}" if source.sha256 else "unknown"
    here = f"in {model.folder}" if model.is_here else f"no: vtnstream models download {model.name}"
    return [
        ("published", model.name),
        ("here", here),
        ("accuracy", f"top-1 {source.top1} %, top-5 {source.top5} % on {source.dataset}"),
        ("licence", source.license),
        ("from", source.url),
        ("size", size),
        ("SHA-256", known),
    ]


_SHOW_EXAMPLES = """
vtnstream models show vtn-vit-b
vtnstream models show vtn-vit-b-kinetics
vtnstream models show models/surgery --json
"""


@models.command("show", cls=Command, examples=_SHOW_EXAMPLES)
@click.argument("model", shell_complete=complete_files)
@shared.as_json
@attach(running.offline)
@running.messages
@click.pass_obj
def show(console: Console, /, **values: Any) -> None:
    """Show a preset, a published model, or a trained model in a folder or on the Hub."""
    from vtnstream.models.io.published import published_models
    from vtnstream.models.presets import is_preset, preset

    name = values["model"]
    config = preset(name) if is_preset(name) else None
    published = published_models().get(name)
    if published is not None and not Path(name).is_dir():
        config = published.config
    if config is not None:
        counts = _count(config)
    else:
        from vtnstream.models.io.checkpoint import load_model

        trained = load_model(name)
        config = trained.config
        counts = _parameters(trained)
    if values["json"]:
        document = {"name": name, "config": to_dict(config), "parameters": counts}
        console.out(json.dumps(document, indent=2))
        return
    print_facts(console, _facts(name, config, counts))


def _list_backbones(console: Console, pattern: str, *, as_json: bool) -> None:
    from vtnstream.models.backbone import list_backbones

    names = list_backbones(pattern)
    console.out(json.dumps(names) if as_json else "\n".join(names) or "none")
    found = plural(len(names), "timm backbone matches", "timm backbones match")
    console.say(f"{found} {pattern!r}")


def _model_folders(places: tuple[str, ...]) -> Iterator[Path]:
    """Yield the model folders among these folders and their direct subfolders."""
    seen: set[Path] = set()
    for place in map(Path, places):
        try:
            below = sorted(place.iterdir()) if place.is_dir() else []
        except OSError:
            below = []
        for folder in (place, *below):
            if (folder / "model.safetensors").is_file() and folder.resolve() not in seen:
                seen.add(folder.resolve())
                yield folder


def _read(folder: Path) -> ModelConfig:
    from vtnstream.models.io.checkpoint import read_config

    return read_config(folder)


def _temporal_layers(config: ModelConfig) -> str:
    vivit = config.vivit
    if vivit is None:
        return str(config.temporal.num_layers)
    return str(vivit.temporal_layers) if vivit.reads_sequences else ""


def _labels(config: ModelConfig) -> str:
    head = config.head
    parts = []
    for part in head.class_heads:
        parts.append(f"{len(part.labels)} of a video{f' ({part.name})' if part.name else ''}")
    if head.dense_labels:
        parts.append(f"{len(head.dense_labels)} of a moment")
    return ", ".join(parts)


def _count(config: ModelConfig) -> dict[str, int]:
    """Return the parameter counts of a preset with the 400 classes of Kinetics, as in the paper."""
    from vtnstream.models.create import create_model

    return _parameters(create_model(config, num_classes=400, device="meta"))


def _parameters(model: Any) -> dict[str, int]:
    counts = {
        name: sum(parameter.numel() for parameter in part.parameters())
        for name, part in model.named_children()
    }
    return {**counts, "all": sum(parameter.numel() for parameter in model.parameters())}


def _facts(name: str, config: ModelConfig, counts: dict[str, int]) -> list[tuple[str, str]]:
    from vtnstream.models.io.description import config_facts

    head = config.head
    facts = [("model", name), *config_facts(config)]
    facts += [
        (f"parameters of {part}", f"{count / 1e6:.2f} M") for part, count in counts.items() if count
    ]
    for part in head.class_heads:
        name = f"labels of a video ({part.name})" if part.name else "labels of a video"
        facts.append((name, ", ".join(part.labels)))
    if head.dense_labels:
        facts.append(("labels of a moment", ", ".join(head.dense_labels)))
    return facts
