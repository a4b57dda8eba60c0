"""A library of many videos: their frames' vectors in a vector database, kept in step with the
files, and searched across videos. The only room that imports lancedb and pyarrow.
"""
