"""Caches what each start of a service in the test process would compute again.

Hundreds of tests start a service of their own. Each start validated the same two contracts four
times, and each client read the certificates of the system: most of a second of CPU for a test.
The results depend on their input alone. The first start in a test process computes them in full,
and so does each server that has a process of its own.
"""

import functools
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from connexion.spec import Specification


def valid_once(validate: Any) -> "classmethod[Any, Any, None]":
    """Return the validation of a document, which does nothing for one that it has accepted."""
    valid: set[tuple[type, str]] = set()

    def validate_new(cls: type, content: dict[str, Any]) -> None:
        key = cls, json.dumps(content, default=str)
        if key not in valid:
            validate.__func__(cls, content)
            valid.add(key)

    return classmethod(validate_new)


@pytest.fixture(scope="session", autouse=True)
def start_cache() -> Iterator[None]:
    """Cache valid contracts and the clients' certificates for the whole run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Specification, "_validate_spec", valid_once(Specification._validate_spec))
        context = functools.cache(httpx.create_ssl_context)
        patch.setattr("httpx._transports.default.create_ssl_context", context)
        yield
