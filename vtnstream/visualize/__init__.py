"""Pictures for people: what a model looked at."""
