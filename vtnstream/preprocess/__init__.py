"""Preprocessing of frames into model inputs.

:func:`~vtnstream.preprocess.spatial.frame_fit` defines the scaling and cropping, which the decoder
applies; :class:`~vtnstream.preprocess.pipeline.Preprocess` normalises the pixels.
:mod:`~vtnstream.preprocess.surfaces` does both for frames decoded on a GPU.
"""
