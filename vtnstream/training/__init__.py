"""Training on stored features: annotations in, a model folder out."""
