"""Images of results for people: attention, confusion matrices and training curves."""
