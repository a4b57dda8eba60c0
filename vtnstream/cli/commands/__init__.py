"""The commands, one per file; :mod:`vtnstream.cli.framework.group` imports them when called."""
