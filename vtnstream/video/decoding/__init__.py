"""Packets to frames in presentation order, with exact times."""
