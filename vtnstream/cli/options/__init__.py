"""Options that several commands share, and the configuration objects made of their values."""
