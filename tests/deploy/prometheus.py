"""A Prometheus that scrapes one service, and what its queries return."""

import contextlib
import json
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml
from support.needs import need
from support.server_process import reserved_port

HOW = "apt-get install prometheus"
# Prometheus reads its data directory and its rules first, on a busy machine for seconds.
DEADLINE = 60.0


class Prometheus:
    """A running Prometheus, asked by its HTTP API."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of an expression as of now."""
        body = self._http.get("/api/v1/query", params={"query": expression}).json()
        assert body["status"] == "success", (expression, body)
        result: list[dict[str, Any]] = body["data"]["result"]
        return result

    def wait_for(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of an expression as soon as there are some."""
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            with contextlib.suppress(httpx.TransportError, json.JSONDecodeError):
                if found := self.query(expression):
                    return found
            time.sleep(0.2)
        raise AssertionError(f"no sample of {expression}")

    def rules(self) -> list[dict[str, Any]]:
        """Return the alert rules with their state."""
        groups = self._http.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


@contextlib.contextmanager
def scraping(url: str, rules: Path) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes the service at `url` each half second."""
    program = need("prometheus", HOW)
    port = reserved_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = {
            "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
            "rule_files": [str(rules)],
            "scrape_configs": [
                {
                    "job_name": "coord-users",
                    "static_configs": [{"targets": [url.removeprefix("http://")]}],
                }
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    program,
                    f"--config.file={folder}/prometheus.yml",
                    f"--storage.tsdb.path={folder}/data",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stderr=log,
            )
        try:
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10
            ) as http:
                yield Prometheus(http)
        finally:
            process.terminate()
            process.wait(30)


def selectors(expression: str) -> list[str]:
    """Return the selectors of our own metrics in an expression, without their range."""
    return re.findall(r"coord_users_\w+(?:\{[^}]*\})?|\bprocess_\w+(?:\{[^}]*\})?", expression)
