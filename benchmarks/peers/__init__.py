"""What a user would otherwise write, each library in a file of its own kind."""
