"""Models on disk and on the Hugging Face Hub.

``checkpoint`` loads and saves model folders, ``weights`` reads tensors safely and loads them
strictly, ``pyslowfast`` imports published checkpoints, ``export`` writes ONNX and torch programs.
``hub`` and ``resumable_download`` are the only modules of the package that use the network.
"""
