"""The HTTP server: routes, request checks, and start."""
