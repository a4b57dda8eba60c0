"""Features to classes and scores per token: the temporal half of a model.

:func:`~vtnstream.scoring.analyze.analyze` takes a model, features and a
:class:`~vtnstream.scoring.localization_plan.LocalizationPlan`, and returns an
:class:`~vtnstream.scoring.analysis.Analysis`.
"""
