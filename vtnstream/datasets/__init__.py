"""Annotation files to annotated videos, one module for each format. numpy only.

:func:`vtnstream.datasets.annotations.read_annotations` recognises the format.
"""
