"""Words and examples in the space of a backbone's features.

This room reads labels and queries as people write them, opens image-text models (SigLIP, CLIP)
of transformers, turns text into vectors and keeps these, and scores frames against vectors. It
never decodes a video: :mod:`vtnstream.search` brings the features.
"""
