"""The rule: one Stripe customer for each user."""
