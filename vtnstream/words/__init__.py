"""Text and examples as vectors in the space of a backbone's features.

This package parses labels and queries, opens image-text models (SigLIP, CLIP) of transformers,
turns text into vectors and caches them, and scores frames against vectors. It never decodes a
video: :mod:`vtnstream.search` provides the features.
"""
