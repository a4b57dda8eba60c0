"""Video Vision Transformer (Arnab et al. 2021): the four models, and Hugging Face checkpoints.

:class:`~vtnstream.models.vivit.model.ViViT` is the model;
:mod:`~vtnstream.models.vivit.sequence` runs it over long videos, and
:mod:`~vtnstream.models.vivit.hf` reads folders of ``VivitForVideoClassification``.
"""
