"""Coord's account at Stripe."""
