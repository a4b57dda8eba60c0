"""Video files to sampled frames: the only package that imports av. No torch.

:func:`vtnstream.video.probe.probe` examines a file, :mod:`vtnstream.video.decoding` turns packets
into frames with exact times, and :mod:`vtnstream.video.sampling` chooses the frames of the grid.
"""
