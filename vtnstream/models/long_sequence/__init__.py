"""A VTN over sequences of any length, in blocks of tokens: memory does not grow with the video.

``streaming.encode_sequence`` classifies a whole sequence, ``windows.encode_windows`` its sliding
windows, and ``online.OnlineModel`` a stream whose end is unknown. All are equal to the plain model
on the same tokens up to rounding. This package imports ``vtn``, never the other way round.
"""
