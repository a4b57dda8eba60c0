"""Compilers of the frame network, one file each: the only place that knows their libraries.

A backend exports the network, builds an engine in a child process (which may take gigabytes,
crash or be interrupted without harm) and loads it back. Where an engine is kept, whether it
may be trusted and whether it is right is not its business: see
:mod:`vtnstream.encoding.engines.choose`.
"""
