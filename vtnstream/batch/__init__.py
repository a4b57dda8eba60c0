"""Thousands of videos: one list of inputs, workers that may die, one status line a video.

The parent process imports no torch; whatever decodes or computes runs in workers.
"""
