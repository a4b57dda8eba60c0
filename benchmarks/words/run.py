"""The options of ``python -m benchmarks words``, and the part they select."""

from __future__ import annotations

from pathlib import Path

from benchmarks import common
from benchmarks.words.spaces import add_options
from vtnstream.errors import VtnstreamError

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
    if not (options.set or options.closed or options.clips):
        parser.error("ask for --set, --closed or --clips")
    kind = "set" if options.set else "closed" if options.closed else "clips"
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
            from benchmarks.words.examples import examples

            examples(options, result)
    except VtnstreamError as error:
        parser.error(str(error))
    result.deliver(options)
