"""``python -m benchmarks NAME [OPTIONS]``: each prints its tables as Markdown, last."""

from __future__ import annotations

import importlib
import sys

from vtnstream.registry import suggestion

BENCHMARKS = {
    "cuda": "on a GPU: backbones against its ceiling, NVDEC, an hour of 1080p",
    "decode": "sampled decoding: everything, what is needed, a sparse sampling, side by side",
    "edit_model": "the bundled model: made from footage, scored beside PySceneDetect",
    "few": "learning from a handful of videos: recipes beside simple peers",
    "frozen_features": "VTN on frozen features against a linear probe, folds x seeds",
    "learning": "what needs the whole of a video: phases, order, fight",
    "library": "ten nearest of millions of vectors, beside faiss and a numpy scan",
    "memory": "peak memory of extract and timeline against the length of the film",
    "paper": "a video's class by VTN in one pass, against SlowFast and I3D with 30 views",
    "paper_tables": "parameters and GFLOPs of every variant beside the paper's",
    "paper_training": "time to train, VTN against SlowFast-R101, times the published epochs",
    "positions": "kinds of position on sequences ten times longer than trained on",
    "shots": "shots of real videos, beside PySceneDetect and TransNetV2",
    "startup": "what --help and imports cost, and that inference needs no transformers",
    "temporal": "the temporal encoder, against transformers' Longformer and full attention",
    "throughput": "film to features, against OpenCV, torchcodec and PyAV with timm",
    "timeline": "an hour-long film: the first run, and the second from stored features",
    "words": "search in words and by example: public sets, a closed vocabulary, retrieval",
}


def main(arguments: list[str]) -> int:
    """Run the benchmark that the first argument names."""
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print(usage())
        return 0
    if name not in BENCHMARKS:
        print(f"no benchmark {name!r}{suggestion(name, BENCHMARKS)}\n\n{usage()}", file=sys.stderr)
        return 2
    importlib.import_module(f"benchmarks.{name}").main(arguments[1:])
    return 0


def usage() -> str:
    lines = [f"  {name:<18}{what}" for name, what in BENCHMARKS.items()]
    return "\n".join(["usage: python -m benchmarks NAME [OPTIONS]", "", *lines])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
