"""Models on disk and on the Hugging Face Hub.

:mod:`~vtnstream.models.io.checkpoint` loads and saves model folders,
:mod:`~vtnstream.models.io.weights` reads untrusted weights,
:mod:`~vtnstream.models.io.pyslowfast` imports published checkpoints, and
:mod:`~vtnstream.models.io.export` writes ONNX and torch programs.
"""
