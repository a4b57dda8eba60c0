"""Compilers of the frame network, one module for each compiler and its library.

A :class:`~vtnstream.models.compile.backend.Backend` exports the network, builds an engine in a
child process (which may take gigabytes, crash or be interrupted without harm) and loads it.
:mod:`vtnstream.encoding.engines.choose` decides where engines are kept and whether they are right.
"""
