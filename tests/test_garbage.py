"""What a request leaves behind is gone at once, and does not wait for the collector.

The collector holds up the whole process: with what 300 requests to a silent Stripe had left behind
it once took 170 ms, in which no probe was answered.
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

# Requests of each kind, and how many objects each may leave to the collector. Werkzeug leaves eight
# for a path that it finds, here twice: the stand-in is in this process, too.
NUMBER, BORNE = 10, 20

Garbage = Callable[[], int]


class Plain:
    """A caller that leaves nothing behind itself."""

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
        """Send one request; gives the status."""
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
    """Give a way to tell how many objects wait for the collector."""
    gc.collect()
    gc.disable()
    yield gc.collect
    gc.enable()


@pytest.fixture
def plain(service: Service, partner: Partner) -> Iterator[Plain]:
    """Give such a caller."""
    calling = Plain(service.url, partner)
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
def test_request_leaves_nothing_to_the_collector(
    plain: Plain, garbage: Garbage, status: int, sent: dict[str, str]
) -> None:
    """Neither an answer does nor, in a failure, the error with all that it has passed through."""
    assert plain.send(**sent) == status
    garbage()
    for number in range(NUMBER):
        assert plain.send(subject=f"new-{number}", **sent) == status
    assert garbage() <= NUMBER * BORNE


def test_connection_leaves_nothing_to_the_collector(
    service: Service, partner: Partner, plain: Plain, garbage: Garbage
) -> None:
    """Nor does each caller who comes, asks once and goes."""
    assert plain.send(target="/v1/nothing") == 404
    garbage()
    for _ in range(NUMBER):
        once = Plain(service.url, partner)
        assert once.send(target="/v1/nothing") == 404
        once.close()
    # Answered by the same loop, which has seen the others go by then.
    assert plain.send(target="/v1/nothing") == 404
    assert garbage() <= NUMBER * BORNE


@pytest.mark.both_databases
def test_silence_leaves_nothing_to_the_collector(
    settings: Settings, partner: Partner, garbage: Garbage
) -> None:
    """A request that finds what an earlier one left open, and leaves it open in its turn."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent_for_ever = dataclasses.replace(
            settings,
            stripe_api_base=f"http://127.0.0.1:{silent.getsockname()[1]}",
            stripe_timeout=0.1,
            request_timeout=1.0,
        )
        with Service(silent_for_ever) as service:
            plain = Plain(service.url, partner)
            assert plain.send() == 503
            garbage()
            for _ in range(NUMBER):
                assert plain.send() == 503
            left = garbage()
            plain.close()
    assert left <= NUMBER * BORNE
