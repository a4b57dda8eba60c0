"""Video Transformer Network (Neimark et al. 2021)."""
