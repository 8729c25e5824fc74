"""The versions of the schema, each a file."""
