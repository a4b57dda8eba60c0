"""Run one request over one video: open its features, score them, build the report.

A request (:mod:`~vtnstream.inference.request`) is opened as features
(:mod:`~vtnstream.inference.opening`), which `vtnstream.scoring` turns into an analysis and
:mod:`~vtnstream.inference.report` into a report. What is stored is answered without torch
(:mod:`~vtnstream.inference.stored_answers`). Streams: :mod:`~vtnstream.inference.follow`.
"""
