"""From a result to a shorter video: which moments to keep."""
