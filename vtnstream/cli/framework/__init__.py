"""Groundwork of the commands: option types, settings, console, progress and failures."""
