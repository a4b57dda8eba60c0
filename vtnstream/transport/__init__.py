"""Access to the bytes of a video: a file, an address, a pipe, or a file that still grows.

Code that opens a video gets a plain file object from this package. Media libraries never receive
an address, so that the content of a video cannot make them open a connection.
"""
