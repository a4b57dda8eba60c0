"""Video Vision Transformer (Arnab et al. 2021)."""
