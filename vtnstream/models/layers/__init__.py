"""Layers of the temporal encoder: attention, positions, feed-forward."""
