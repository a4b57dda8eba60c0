"""Scores for each token to labelled segments. numpy only.

:func:`vtnstream.localization.segments.to_segments` is the whole step: smoothing, labelling,
minimum duration and suppression, never across a gap.
"""
