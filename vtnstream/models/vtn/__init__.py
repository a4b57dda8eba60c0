"""Video Transformer Network (Neimark et al. 2021): image backbone, temporal encoder, heads.

:class:`~vtnstream.models.vtn.model.VTN` is the model. Its temporal encoder is a Longformer
(:mod:`~vtnstream.models.vtn.temporal`), an encoder of the ``transformers`` library
(:mod:`~vtnstream.models.vtn.transformers_encoder`) or convolutions
(:mod:`~vtnstream.models.vtn.tcn`).
"""
