"""Search all videos of the studio in words or by an example, and suggest what to label next."""
