"""The database and Stripe are made to agree: `reconcile`, `import` and what the start checks."""
