"""Frames to stored features: the backbone, its compiled engines and the feature store of one video."""
