"""A real nginx in front of the service."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
from support.needs import need
from support.server_process import reserved_port

CONFIGURATION = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
{user}
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {upstream}
    server {{
        listen 127.0.0.1:{port};
        {locations}
    }}
}}
"""
DEADLINE = 30.0


@contextlib.contextmanager
def nginx(folder: Path, upstream: str, locations: str) -> Iterator[str]:
    """Run nginx inside the block; return its address.

    Args:
        folder: for its files.
        upstream: its blocks `upstream`.
        locations: its blocks `location`.
    """
    program = need("nginx", "apt-get install nginx-light")
    port = reserved_port()
    file = folder / "nginx.conf"
    # Its workers would run as another user, who cannot reach the folders of a test run by root.
    user = "user root;" if os.geteuid() == 0 else ""
    file.write_text(
        CONFIGURATION.format(
            folder=folder, user=user, upstream=upstream, port=port, locations=locations
        )
    )
    with subprocess.Popen(
        [program, "-c", file, "-p", folder, "-e", folder / "error.log"]
    ) as process:
        try:
            _wait_until_it_listens(process, port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_until_it_listens(process: "subprocess.Popen[bytes]", port: str) -> None:
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        assert process.poll() is None
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
            return
        time.sleep(0.05)
    raise AssertionError("nginx does not listen")
