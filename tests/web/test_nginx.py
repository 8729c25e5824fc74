"""The service behind a real nginx, below a path."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from support.nginx import nginx
from support.server_process import ServerProcess
from support.serving import PATH, Caller, Partner

from app.config import Settings
from app.sandbox.standin.server import StandIn

# As most sites are written: what nginx sets, it also takes from no caller.
LOCATIONS = """
location /pay/ {
    proxy_pass http://users_api/;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Host $host;
    proxy_set_header X-Forwarded-Port $server_port;
    proxy_set_header X-Forwarded-Proto HTTPS;
    proxy_set_header X-Forwarded-Prefix /pay;
}
location /standard/ {
    proxy_pass http://users_api/;
    proxy_set_header Forwarded "for=$remote_addr;host=\\"$http_host\\";proto=$scheme";
    proxy_set_header X-Forwarded-Prefix /standard/;
}
location / {
    proxy_pass http://users_api;
}
"""


@pytest.fixture
def server(settings: Settings, tmp_path: Path) -> Iterator[ServerProcess]:
    """Return a service that listens on a Unix domain socket alone, as nginx reaches it."""
    running = ServerProcess(settings, tmp_path / "log", "--uds", str(tmp_path / "socket"))
    try:
        running.wait_for_event("serving")
        yield running
        running.stop()
    finally:
        running.process.kill()
        running.process.wait()


@pytest.fixture
def url(server: ServerProcess, tmp_path: Path) -> Iterator[str]:
    """Return nginx's address."""
    upstream = f"upstream users_api {{ server unix:{tmp_path}/socket; }}"
    with nginx(tmp_path, upstream, LOCATIONS) as address:
        yield address


def test_below_a_path(url: str, server: ServerProcess, partner: Partner, standin: StandIn) -> None:
    """Each address that the service returns is one that the caller can use."""
    with Caller(url + "/pay", partner) as caller:
        saved = caller.save(standin.new_token())
        assert saved.status_code == 200
        refused = caller.http.get("/v1/nothing").json()
        assert refused["type"] == "/pay/v1/users/problems/not_found"
        for name in ("swagger.json", "swagger.yaml"):
            document = yaml.safe_load(caller.http.get(f"/v1/users/{name}").text)
            assert document["basePath"] == "/pay/v1/users"
            assert document["host"] == url.removeprefix("http://")
            assert document["schemes"] == ["https"]
        redirect = caller.http.get("/")
        assert redirect.status_code == 302
        assert redirect.headers["location"].endswith("/pay/v1/users/ui/")
        page = caller.http.get("/v1/users/ui/").text
        assert "/pay/v1/users/ui/" in page
    assert server.wait_for_event("request", 6)["client"] == "127.0.0.1"


def test_standard_header(url: str) -> None:
    """RFC 7239, which knows no prefix."""
    document = httpx.get(f"{url}/standard/v1/users/swagger.json").json()
    assert document["basePath"] == "/standard/v1/users"
    assert document["host"] == url.removeprefix("http://")
    assert document["schemes"] == ["http"]


def test_host_with_an_underscore(url: str, server: ServerProcess) -> None:
    """By default nginx sends the upstream's name, and Docker's networks allow a `_` in names."""
    document = httpx.get(f"{url}/v1/users/swagger.json").json()
    assert document["host"] == "users_api"
    assert httpx.get(f"{url}{PATH}").status_code == 405
