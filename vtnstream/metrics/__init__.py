"""Metrics for classification, temporal localization, timeline segmentation and surgical phases.

The package depends on numpy alone.
"""
