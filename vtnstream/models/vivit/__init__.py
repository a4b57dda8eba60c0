"""Video Vision Transformer (Arnab et al. 2021): the four models, and Hugging Face checkpoints.

``model.ViViT`` is the model; ``encoder`` embeds tubelets and attends in space, ``temporal`` in
time. ``sequence`` runs the factorised encoder over long videos. ``hf`` reads folders of
VivitForVideoClassification (configs in ``hf_config``, weights in ``hf_tensors``).
"""
