"""Metrics of predictions: classification, localization, segmentation and phases. numpy only."""
