"""Batch processing of many videos.

:func:`~vtnstream.batch.manifest.read_manifest` makes the list of inputs,
:func:`~vtnstream.batch.run.run_batch` processes it with a pool of workers
(:mod:`~vtnstream.batch.workers`) and writes one status line per video. Videos are decoded and
models run only in the workers, so that a crash affects one video; the parent imports no torch.
"""
