"""Annotations, stored features and frames as training samples and batches."""
