"""Frames to stored features: backbone, compiled engines, feature store of one video."""
