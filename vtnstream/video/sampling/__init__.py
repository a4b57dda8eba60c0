"""Decoded frames to sampled tokens and chunks."""
