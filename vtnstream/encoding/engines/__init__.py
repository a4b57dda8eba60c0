"""Compiled backbones (engines): chosen, built, measured and kept on disk."""
