"""Select the training recipe for few videos: recipes are compared by cross-validation on stored
features."""
