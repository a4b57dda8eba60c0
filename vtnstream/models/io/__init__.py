"""Model folders, checkpoints, the Hub and exported programs."""
