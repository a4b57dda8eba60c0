"""Sample the frames of a video as tokens, in chunks of one backbone batch.

:mod:`~vtnstream.video.sampling.grid` and :mod:`~vtnstream.video.sampling.samplers` define the kinds
of sampling, :class:`~vtnstream.video.sampling.passes.Pass` reads a file once, and
:class:`~vtnstream.video.sampling.parallel.ParallelPass` reads several parts of it at the same time.
:func:`vtnstream.video.source.open_video` is the entry point.
"""
