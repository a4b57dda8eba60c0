"""The vector space that the benchmark searches: an image-text model, or a backbone from a file."""

from __future__ import annotations

import argparse
import ast
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from vtnstream.config import BackboneConfig, RuntimeConfig, SamplingConfig
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.errors import UsageError
from vtnstream.models.backbone import create_backbone, load_backbone_weights, native_preprocess
from vtnstream.models.io.weights import read_tensors
from vtnstream.search.space import SearchSpace, words_space
from vtnstream.types import FloatArray
from vtnstream.words.model import open_words
from vtnstream.words.vectors import unit


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that select a space."""
    parser.add_argument("--model", help="image-text model: published name, folder or Hub name")
    parser.add_argument("--backbone", help="timm name, with --weights")
    parser.add_argument("--backbone-arg", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--weights", type=Path, help="safetensors file of the backbone")
    parser.add_argument("--mean", type=float, help="mean of all colours [the backbone's own]")
    parser.add_argument("--std", type=float, help="their deviation")
    parser.add_argument("--fps", type=Fraction, default=Fraction(1))
    parser.add_argument("--cache-dir", type=Path)
    parser.add_argument("--threads", type=int)


def runtime_of(options: argparse.Namespace) -> RuntimeConfig:
    """Return the device and cache of the runs."""
    return RuntimeConfig(
        cache_dir=options.cache_dir, threads=options.threads, dtype="float32", backend="eager"
    )


def space_of(options: argparse.Namespace) -> SearchSpace:
    """Build the space that the options select.

    Raises:
        UsageError: they select none.
    """
    runtime = runtime_of(options)
    sampling = SamplingConfig(kind="rate", fps=options.fps)
    if options.model is not None:
        words = open_words(options.model)
        if words is None:
            raise UsageError(f"{options.model}: is no image-text model")
        return words_space(words, runtime, sampling)
    if options.backbone is None or options.weights is None:
        raise UsageError("name --model, or --backbone with --weights")
    arguments = {}
    for text in options.backbone_arg:
        key, _, value = text.partition("=")
        try:
            arguments[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            arguments[key] = value
    config = BackboneConfig(options.backbone, arguments)
    prepare = native_preprocess(config)
    if options.mean is not None:
        prepare = replace(prepare, mean=(options.mean,) * 3)
    if options.std is not None:
        prepare = replace(prepare, std=(options.std,) * 3)
    torch.manual_seed(0)
    backbone = create_backbone(config)
    load_backbone_weights(backbone, options.weights)
    encoder = FrameEncoder(backbone, config, prepare, dtype=runtime.dtype)
    return SearchSpace(encoder, sampling, {"name": config.name, "source": str(options.weights)})


def class_vectors(weights: Path) -> FloatArray:
    """Return the rows (K, D) of a classifier, scaled to length 1: vectors of its classes in the
    space of its features."""
    state = read_tensors(weights)
    name = next(name for name in state if name.endswith("classifier.weight"))
    return unit(np.asarray(state[name].float().numpy(), np.float32))


def class_names(path: Path) -> list[str]:
    """Read the names of an ImageNet network's classes.

    The file has one name per line, with or without numbers and a ``background`` first; of
    several synonyms the first is used.
    """
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    names = [line.split(None, 1)[1] if line.split(None, 1)[0].isdigit() else line for line in lines]
    names = names[1:] if names[0] == "background" else names
    return [name.split(",")[0].strip() for name in names]
