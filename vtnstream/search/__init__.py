"""Search in videos: queries by text, image or span against a video's features.

:class:`vtnstream.search.searcher.Searcher` is prepared once and searches any number of videos.
"""
