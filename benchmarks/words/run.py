"""The options of ``python -m benchmarks words``, and the part they select."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

from benchmarks import common
from benchmarks.words.spaces import add_options
from vtnstream.errors import VtnstreamError

_HERE = Path(__file__).parent
SETS = ("qvhighlights", "charades-sta", "thumos14")


def main(arguments: list[str]) -> None:
    """Run the part that the options select.

    Raises:
        SystemExit: they select none, or it cannot run.
    """
    parser = common.parser("words", __import__("benchmarks.words").words.__doc__)
    add_options(parser)
    parser.add_argument("--set", choices=SETS, help="a public set in --data")
    parser.add_argument("--data", type=Path, help="folder of the videos")
    parser.add_argument("--closed", type=Path, metavar="TRUTH", help="TOML of words by clip")
    parser.add_argument("--labels", type=Path, help="names of the classifier's classes")
    parser.add_argument("--clips", type=Path, metavar="CSV", help="path,label,scene")
    parser.add_argument("--most", type=int, help="only so many videos")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    everything = not (options.set or options.closed or options.clips)
    if everything and options.data is None:
        parser.error("name --data, or ask for --set, --closed or --clips")
    if everything:
        _take_data(options)
    kind = "data" if everything else "closed" if options.closed else "clips"
    name = f"words_{options.set or kind}"
    model = options.model or options.backbone
    result = common.Result(name, {"model": model, "fps": str(options.fps), "seed": options.seed})
    try:
        if options.set:
            from benchmarks.words.moments import moments

            moments(options, result)
        if options.closed:
            from benchmarks.words.closed import closed

            closed(options, result)
        if options.clips:
            from benchmarks.words.examples import clips

            clips(options, result)
        if everything:
            from benchmarks.words.examples import sets
            from benchmarks.words.spans import Truth, spans

            result.keep(options)
            sets(options, result)
            result.keep(options)
            spans(options, result, Truth.read(_HERE / "spans.toml"))
    except VtnstreamError as error:
        parser.error(str(error))
    result.deliver(options)


def _take_data(options: argparse.Namespace) -> None:
    """Without other options: the MobileNetV2 of the data folder, as it was trained, two frames a
    second, and its classes as words."""
    if options.model is None and options.backbone is None:
        options.backbone, options.backbone_arg = "mobilenetv2_100", ["pad_type=same"]
        options.mean = options.std = 0.5
        options.fps = Fraction(2)
        (options.weights,) = (options.data / "backbone").glob("mobilenetv2_100*.safetensors")
    if options.weights is not None:
        options.labels = options.labels or options.data / "backbone" / "imagenet_labels.txt"
        options.closed = _HERE / "truth.toml"
