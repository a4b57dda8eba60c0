"""A library of many videos: vectors of their frames in a vector database, searched across videos.

It is kept in step with the files. Only this package imports lancedb and pyarrow.
"""
