"""Choose how a model of few videos is trained: recipes compared by cross-validation on stored
features."""
