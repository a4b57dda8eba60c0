"""Workers of a batch: local processes or Ray actors, and what they execute."""
