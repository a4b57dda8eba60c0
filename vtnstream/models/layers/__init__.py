"""Layers that the temporal encoders and ViViT are built of, without any model around them.

Attention comes as a sliding window (``sliding_window``, with ``banded_flash`` and ``banded_flex``
for inference), in full (``full_attention``) and in causal mode (``causal_attention``). Modules of
this package know tensors and sizes; configs and checkpoints are for the packages above.
"""
