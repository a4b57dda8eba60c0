"""The bytes of a video, wherever they are: a file, an address, a pipe, a file that grows.

Whatever opens a video asks this room for a plain file object. Media libraries never see an
address, so that nothing inside a video can make them connect anywhere.
"""
