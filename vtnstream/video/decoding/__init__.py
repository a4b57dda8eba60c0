"""Decode one video stream into frames in presentation order, with exact times.

:class:`~vtnstream.video.decoding.reader.FrameReader` reads packets, decodes them and places the
frames on the timeline; :class:`~vtnstream.video.decoding.frame_timeline.FrameTimeline` adds when
each frame is displayed, and the gaps. Frames that the sampling does not need are not decoded
(:mod:`~vtnstream.video.decoding.lookahead`). NVDEC is in
:mod:`~vtnstream.video.decoding.hardware`.
"""
