"""Frames to stored features: the spatial half of a model.

:func:`~vtnstream.encoding.extract.extract_features` takes a video, a
:class:`~vtnstream.encoding.encoder.FrameEncoder` and a sampling, and completes the feature store of
that video. Compiled backbones are in :mod:`vtnstream.encoding.engines`.
"""
