"""A VTN with a small ResNet in numpy: the bundled model, and others of its layout.

Nothing here imports torch, whose import takes longer than the bundled model takes for a minute of
video. Results equal those of :class:`vtnstream.models.vtn.model.VTN` in float32 up to rounding.
:func:`~vtnstream.models.numpy_vtn.layout.supports` says which configs are supported.
"""
