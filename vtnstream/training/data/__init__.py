"""Conversion of annotations with stored features or frames to training samples and batches."""
