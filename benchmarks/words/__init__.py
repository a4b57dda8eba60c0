"""Queries by words and examples: moments, labels and absent queries on public sets, a closed
vocabulary on real clips, and retrieval by example.

    python -m benchmarks words --data DIR
    python -m benchmarks words --model siglip2-base --set qvhighlights --data DIR
    python -m benchmarks words --closed truth.toml --data DIR --backbone mobilenetv2_100 ...
    python -m benchmarks words --clips labels.csv --backbone mobilenetv2_100 ...

``--data`` alone runs all that its folder holds, with a MobileNetV2: words, retrieval by example
(clips of a label and of a scene, halves of signs, takes and shots), and spans in another encoding
and in unrelated videos. ``--set`` reads QVHighlights, Charades-STA or THUMOS14 in their published
layouts (:mod:`.layouts`). ``--closed`` uses the rows of an ImageNet classifier as the vectors of
1,000 words; the truth file names what clips show, and which words no clip shows. ``--clips`` takes
a CSV of path, label and scene, and searches for the other clips with each clip.
"""

from __future__ import annotations

from benchmarks.words.run import main

__all__ = ["main"]
