"""The Swagger document as the router and the validator."""
