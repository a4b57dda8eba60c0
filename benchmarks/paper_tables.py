"""Parameters and GFLOPs of every variant beside the numbers of the papers.

"paper's count" is products with weights only, in the reference's arithmetic; "full count" adds
the products of attention. Both are counted from the models, which hold no weights here.
"""

from __future__ import annotations

from benchmarks import common
from vtnstream.models.architectures import require_vtn
from vtnstream.models.complexity import (
    Products,
    count_parameters,
    count_vivit_products,
    count_vtn_products,
)
from vtnstream.models.create import create_model
from vtnstream.models.vivit.model import ViViT
from vtnstream.models.vtn.model import VTN

NUM_CLASSES = 400
FULL_VIDEO, VIEW_FRAMES, VIEWS = 250, 16, 30

PARAMETERS = {
    "vtn-r50": 168,
    "vtn-r101": 187,
    "vtn-deit-ti": 10,
    "vtn-vit-b-1l": 96,
    "vtn-vit-b": 114,
}
"""Millions of parameters, Table 3."""

GFLOPS = {
    "vtn-r50": (1059, 2106),
    "vtn-r101": (1989, 3895),
    "vtn-vit-b-1l": (4214, 8095),
    "vtn-vit-b": (4218, 8113),
}
"""GFLOPs of the full video and of 30 views, Table 4."""

DEPTHS = {1: "vtn-vit-b-1l", 3: "vtn-vit-b", 6: "vtn-vit-b-6l", 12: "vtn-vit-b-12l"}
"""Numbers of layers in Table 2a."""

UNNUMBERED = ("vtn-deit-b", "vtn-deit-bd")
"""Variants of Table 1 for which the paper gives neither number."""

VIVIT = {
    "vivit-b-16x2": (88.9, 455.2),
    "vivit-b-16x2-fe": (115.1, 284.4),
    "vivit-b-16x2-fsa": (117.3, 372.3),
    "vivit-b-16x2-fdp": (88.9, 277.1),
}
"""Millions of parameters, and GFLOPs of a clip with the products of attention (the ViViT paper's
comparison of its four models)."""

MOST_PARAMETERS_OFF, MOST_GFLOPS_OFF = 0.5, 1.0
"""Largest differences: millions of parameters, and percent of GFLOPs."""


def main(arguments: list[str]) -> None:
    options = common.parser("paper_tables", __doc__).parse_args(arguments)
    result = common.Result("paper_tables")
    names = [*PARAMETERS, *UNNUMBERED, *(n for n in DEPTHS.values() if n not in PARAMETERS)]
    models = {name: variant(name) for name in names}
    vivit = {name: vivit_variant(name) for name in VIVIT}
    worst = max(add_parameters(result, models), add_vivit_parameters(result, vivit))
    result.target("parameters off by at most (M)", worst, MOST_PARAMETERS_OFF, at_most=True)
    worst = max(
        add_products(result, models, "full video, 250 frames", FULL_VIDEO, 1, 0),
        add_products(result, models, "30 views of 16 frames", VIEW_FRAMES, VIEWS, 1),
        add_vivit_products(result, vivit),
    )
    result.target("GFLOPs off by at most (%)", worst, MOST_GFLOPS_OFF, at_most=True)
    result.deliver(options)


def variant(name: str) -> VTN:
    """Build a preset with the paper's 400 classes, without weights."""
    return require_vtn(create_model(name, num_classes=NUM_CLASSES, device="meta"), "this table")


def vivit_variant(name: str) -> ViViT:
    """Build a preset of the ViViT paper, without weights."""
    model = create_model(name, num_classes=NUM_CLASSES, device="meta")
    assert isinstance(model, ViViT)
    return model


def add_parameters(result: common.Result, models: dict[str, VTN]) -> float:
    """Add Tables 3 and 2a; return the largest difference in millions."""
    table = result.table(
        "Parameters in millions (Table 3; depths of Table 2a)",
        *("preset", "layers", "paper", "counted", "off by"),
    )
    differences = []
    for name, model in models.items():
        counted = count_parameters(model) / 1e6
        paper = PARAMETERS.get(name)
        off = None if paper is None else counted - paper
        differences += [] if off is None else [abs(off)]
        table.add(name, model.config.temporal.num_layers, paper, counted, off)
    return max(differences)


def add_products(
    result: common.Result, models: dict[str, VTN], title: str, frames: int, views: int, column: int
) -> float:
    """Add one half of Table 4; return the largest difference in percent."""
    table = result.table(
        f"GFLOPs (1e9 multiply-adds), {title} (Table 4)",
        *("preset", "layers", "paper", "paper's count", "off by %", "full count"),
    )
    differences = []
    for name, model in models.items():
        products: Products = count_vtn_products(model, frames, views=views)
        counted = products.weights / 1e9
        paper = GFLOPS[name][column] if name in GFLOPS else None
        off = None if paper is None else 100 * (counted / paper - 1)
        differences += [] if off is None else [abs(off)]
        layers = model.config.temporal.num_layers
        table.add(name, layers, paper, counted, off, products.full / 1e9)
    return max(differences)


def add_vivit_parameters(result: common.Result, models: dict[str, ViViT]) -> float:
    """Add ViViT's four models; return the largest difference in millions."""
    table = result.table(
        "Parameters of ViViT-B/16x2 in millions", "preset", "form", "paper", "counted", "off by"
    )
    differences = []
    for name, model in models.items():
        paper, counted = VIVIT[name][0], count_parameters(model) / 1e6
        differences.append(abs(counted - paper))
        table.add(name, model.vivit.form, paper, counted, counted - paper)
    return max(differences)


def add_vivit_products(result: common.Result, models: dict[str, ViViT]) -> float:
    """Add one clip of 32 frames with full counts, as in this paper; return the largest
    difference in percent."""
    table = result.table(
        "GFLOPs (1e9 multiply-adds) of ViViT-B/16x2, one clip of 32 frames",
        *("preset", "form", "paper", "without attention", "full count", "off by %"),
    )
    differences = []
    for name, model in models.items():
        products = count_vivit_products(model)
        paper, counted = VIVIT[name][1], products.full / 1e9
        off = 100 * (counted / paper - 1)
        differences.append(abs(off))
        table.add(name, model.vivit.form, paper, products.weights / 1e9, counted, off)
    return max(differences)
