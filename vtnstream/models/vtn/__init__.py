"""Video Transformer Network (Neimark et al. 2021): frame backbone, temporal encoder, heads.

``model.VTN`` is the model. Its temporal encoder is a Longformer (``temporal``), an encoder of the
``transformers`` library (``transformers_encoder``) or a convolutional network (``tcn``).
``feature_norm`` and ``token_inputs`` prepare stored features for it.
"""
