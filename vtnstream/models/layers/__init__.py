"""Layers that the temporal encoders and ViViT are built of, independent of any model.

Attention is a sliding window (:mod:`~vtnstream.models.layers.sliding_window`, with
``banded_flash`` and ``banded_flex`` for inference), full
(:mod:`~vtnstream.models.layers.full_attention`) or causal
(:mod:`~vtnstream.models.layers.causal_attention`).
"""
