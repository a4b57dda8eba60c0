"""A VTN over sequences of any length, in blocks of tokens, with results equal to one pass.

:func:`~vtnstream.models.long_sequence.streaming.encode_sequence` classifies a whole sequence,
:func:`~vtnstream.models.long_sequence.windows.encode_windows` its sliding windows, and
:class:`~vtnstream.models.long_sequence.online.OnlineModel` a stream whose end is unknown. This
package imports `vtnstream.models.vtn`, never the other way round.
"""
