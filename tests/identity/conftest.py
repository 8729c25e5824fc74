"""The fixtures of an issuer and of what is known of its keys."""

from support.issuer_keys import anyio_backend, keys, metrics, server, ticks

__all__ = ["anyio_backend", "keys", "metrics", "server", "ticks"]
