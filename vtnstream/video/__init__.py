"""Reading and writing videos; the only package that imports av, and it imports no torch.

:func:`~vtnstream.video.source.open_video` yields the sampled, scaled frames of a video, and
:func:`~vtnstream.video.probe.probe` its header. :mod:`~vtnstream.video.decoding` turns packets into
frames with exact times, :mod:`~vtnstream.video.sampling` frames into tokens. ``cut``, ``remux``,
``write`` and ``thumbnails`` write clips, copies with chapters, videos and small images.
"""
