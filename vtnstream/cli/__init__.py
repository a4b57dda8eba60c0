"""The command line: parse the options, call the library, deliver the reports.

``main`` is the entry point. Each command is one file of ``commands``; ``options`` has the options
that several commands share; ``framework`` has option types, settings, console, progress and error
handling. The package exports nothing; other packages must not import it.
"""
