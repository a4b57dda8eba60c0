"""Code that a user would write without vtnstream, one module for each kind of library."""
