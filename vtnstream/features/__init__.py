"""Stored features: feature stores, their cache, and feature files.

:class:`~vtnstream.features.cache.FeatureCache` opens the
:class:`~vtnstream.features.store.FeatureStore` of a :class:`~vtnstream.features.key.FeatureKey`;
:mod:`~vtnstream.features.file` reads and writes the files of ``vtnstream extract``. The package
imports neither torch nor av.
"""
