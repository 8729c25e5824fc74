"""Coord's Users API: one lasting Stripe customer for each user."""
