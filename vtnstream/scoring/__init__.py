"""Features to classes and scores per token: the temporal half of a model."""
