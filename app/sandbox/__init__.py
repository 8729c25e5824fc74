"""The whole service on one machine, with a stand-in for Stripe."""
