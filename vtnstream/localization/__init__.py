"""Conversion of scores per token to labelled segments, with numpy alone.

:func:`vtnstream.localization.segments.to_segments` performs all steps: smoothing, labelling,
minimum duration and suppression. No step crosses a gap.
"""
