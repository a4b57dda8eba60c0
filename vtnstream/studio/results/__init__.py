"""Find results in folders, index them, and describe one with its video."""
