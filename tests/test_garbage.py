"""Requests leave no reference cycles to the garbage collector.

A collection stops the whole process: the garbage of 300 requests to a silent Stripe once took 170
ms, in which no probe was answered.
"""

import dataclasses
import gc
import http.client
import json
import socket
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from support.serving import PATH, Partner, Service

from app.config import Settings

# Requests of each kind, and how many objects each may leave as garbage. Werkzeug leaves eight
# for a path that it finds, here twice: the stand-in is in this process, too.
NUMBER, ALLOWED = 10, 20

Garbage = Callable[[], int]


class PlainCaller:
    """A caller that creates no garbage itself."""

    def __init__(self, url: str, partner: Partner) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
        self._partner = partner

    def send(
        self,
        token: str = "tok_visa",
        *,
        subject: str = "user-1",
        jwt: str = "",
        access_key: str = "",
        target: str = PATH,
        method: str = "POST",
        media_type: str = "application/json",
    ) -> int:
        """Send one request; return the status."""
        headers = {
            "Authorization": f"Bearer {jwt or self._partner.jwt(subject)}",
            "Content-Type": media_type,
        }
        body = json.dumps({"coord_targeted_token": token})
        query = f"access_key={access_key or self._partner.access_key}"
        self._connection.request(method, f"{target}?{query}", body, headers)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status

    def close(self) -> None:
        """End."""
        self._connection.close()


@pytest.fixture
def garbage() -> Iterator[Garbage]:
    """Return a function that counts the objects that wait for the garbage collector."""
    gc.collect()
    gc.disable()
    yield gc.collect
    gc.enable()


@pytest.fixture
def plain(service: Service, partner: Partner) -> Iterator[PlainCaller]:
    """Yield a caller that creates no garbage."""
    calling = PlainCaller(service.url, partner)
    yield calling
    calling.close()


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        pytest.param(200, {}, id="saved"),
        pytest.param(400, {"token": "nonsense"}, id="invalid body"),
        pytest.param(401, {"jwt": "e30.e30.e30"}, id="no JWT"),
        pytest.param(401, {"access_key": "coord_ak_wrong"}, id="wrong access key"),
        pytest.param(402, {"token": "tok_chargeDeclined"}, id="card refused"),
        pytest.param(404, {"target": "/v1/nothing"}, id="not found"),
        pytest.param(405, {"method": "PUT"}, id="method"),
        pytest.param(415, {"media_type": "text/plain"}, id="media type"),
        pytest.param(422, {"token": "tok_standin_odd"}, id="token refused"),
    ],
)
def test_request_leaves_no_garbage(
    plain: PlainCaller, garbage: Garbage, status: int, sent: dict[str, str]
) -> None:
    """Neither a response nor the exception of a failure with its traceback."""
    assert plain.send(**sent) == status
    garbage()
    for number in range(NUMBER):
        assert plain.send(subject=f"new-{number}", **sent) == status
    assert garbage() <= NUMBER * ALLOWED


def test_connection_leaves_no_garbage(
    service: Service, partner: Partner, plain: PlainCaller, garbage: Garbage
) -> None:
    """Nor does each caller that connects, sends one request and disconnects."""
    assert plain.send(target="/v1/nothing") == 404
    garbage()
    for _ in range(NUMBER):
        once = PlainCaller(service.url, partner)
        assert once.send(target="/v1/nothing") == 404
        once.close()
    # Answered by the same loop, which has seen the others go by then.
    assert plain.send(target="/v1/nothing") == 404
    assert garbage() <= NUMBER * ALLOWED


@pytest.mark.both_databases
def test_silent_stripe_leaves_no_garbage(
    settings: Settings, partner: Partner, garbage: Garbage
) -> None:
    """A request that finds an open attempt, and leaves it open."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent_for_ever = dataclasses.replace(
            settings,
            stripe_api_base=f"http://127.0.0.1:{silent.getsockname()[1]}",
            stripe_timeout=0.1,
            request_timeout=1.0,
        )
        with Service(silent_for_ever) as service:
            plain = PlainCaller(service.url, partner)
            assert plain.send() == 503
            garbage()
            for _ in range(NUMBER):
                assert plain.send() == 503
            left = garbage()
            plain.close()
    assert left <= NUMBER * ALLOWED
