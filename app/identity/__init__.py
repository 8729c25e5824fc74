"""Who calls, and for which user."""
