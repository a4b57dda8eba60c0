"""Training of models from annotations, on stored features or on frames."""
