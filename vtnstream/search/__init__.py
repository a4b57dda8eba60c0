"""Search in videos: queries by text, image or span against a video's features.

:class:`vtnstream.search.searcher.Searcher` is made ready once and asked about many videos.
"""
