"""``python -m benchmarks NAME [OPTIONS]``: each benchmark prints its tables as Markdown at the
end."""

from __future__ import annotations

import importlib
import sys

from vtnstream.registry import suggestion

BENCHMARKS = {
    "clips": "features of many short videos, beside scripts that load their model once",
    "cuda": "on a GPU: backbones against its ceiling, NVDEC, an hour of 1080p",
    "decode": "sampled decoding: all frames, needed frames, a sparse sampling, in parallel",
    "decode_matrix": "decoding by codec, size and rate, beside ffmpeg and torchcodec",
    "edit_fit": "the bundled model: how its scores are judged, fitted on real videos",
    "edit_model": "the bundled model: trained from footage, scored beside PySceneDetect",
    "few": "training on a few videos: recipes beside simple peers",
    "frozen_features": "VTN on frozen features against a linear probe, folds x seeds",
    "learning": "tasks that need the whole video: phases, order, fight",
    "library": "ten nearest of millions of vectors, beside faiss and a numpy scan",
    "memory": "peak memory of extract and timeline against the length of the video",
    "paper": "a video's class by VTN in one pass, against SlowFast and I3D with 30 views",
    "paper_tables": "parameters and GFLOPs of every variant beside the paper's",
    "paper_training": "time to train, VTN against SlowFast-R101, times the published epochs",
    "positions": "kinds of position on sequences ten times longer than trained on",
    "scale": "a simulated cluster: scheduler overhead, nothing lost with failing actors",
    "shots": "shots of real videos, beside PySceneDetect and TransNetV2",
    "startup": "cost of --help and imports; inference must not import transformers",
    "temporal": "the temporal encoder, against transformers' Longformer and full attention",
    "throughput": "video to features, against OpenCV, torchcodec and PyAV with timm",
    "timeline": "an hour-long video: the first run, and the second from stored features",
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
