"""Corrections of timelines: the actions, their journal, and export."""
