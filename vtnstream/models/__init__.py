"""Networks: backbones (the only importer of timm), VTN, ViViT, heads and their weights.

:func:`vtnstream.models.create.create_model` builds a model,
:func:`vtnstream.models.io.checkpoint.load_model` reads one.
"""
