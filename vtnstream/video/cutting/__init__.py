"""Cut parts out of a video and write them as a new one.

A :class:`~vtnstream.video.cutting.session.CuttingSession` reads one source with the reader that
analysis uses (its clock, verified seek, stream and orientation) and writes any number of files.
Parts are re-encoded (:mod:`.encoding`), copied as packets (:mod:`.copying`), or copied with only
the groups of pictures at their boundaries encoded (:mod:`.smart`). :mod:`.audio` writes the
audio.
"""
