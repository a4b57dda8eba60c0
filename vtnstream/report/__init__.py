"""A report as output: terminal, page and files. No torch, no decoding.

:data:`vtnstream.report.formats.WRITERS` is the table of formats,
:func:`vtnstream.report.writer.write_reports` writes files, and
:func:`vtnstream.report.reading.read_report` reads a stored result.
"""
