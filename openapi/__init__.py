"""The contracts, carried by the wheel as `app.openapi`."""
