"""Coord's Users API: one lasting Stripe customer for each user."""

import warnings

# Connexion imports Starlette's test client, which would advise each operator on what to install.
warnings.filterwarnings("ignore", message="Using `httpx` with `starlette.testclient`")
