"""From the socket to the router, and from errors to responses."""
