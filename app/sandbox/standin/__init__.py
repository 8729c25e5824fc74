"""A stand-in for Stripe: the part of its API that this project touches, on this machine only."""
