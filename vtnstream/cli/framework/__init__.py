"""The framework of the commands.

It has the option classes and types, the settings from config files and environment variables,
the console, the progress displays, the exit codes and the handling of errors and signals. The
commands import these modules by name; the package itself exports nothing.
"""
