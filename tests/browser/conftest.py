"""A real browser, and real servers for it, each a process of its own."""

from __future__ import annotations

import contextlib
import http.server
import os
import queue
import re
import shutil
import socket
import subprocess
import sysconfig
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import httpx
import jwt
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

COMMAND = Path(sysconfig.get_path("scripts"), "coord-users")
# For a server to start or to end, in seconds.
DEADLINE = 30.0
# For the browser, in milliseconds: as long as for a server, as both share a busy machine's cores.
PATIENCE = 1000 * DEADLINE
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ISSUER = "https://by-hand.example/"
AUDIENCE = "https://api.coord.co"
SHARED_SECRET = "thirty-two bytes, or more than that"
LOG_VIOLATIONS = """
    document.addEventListener("securitypolicyviolation", (event) => {
        console.error(`the policy forbids ${event.violatedDirective} ${event.blockedURI}`);
    });
"""


class Server(NamedTuple):
    """A server, and the credentials to use it."""

    url: str
    access_key: str
    user_jwt: str


class Sandbox(NamedTuple):
    """What the sandbox prints at its start."""

    url: str
    access_key: str
    user_jwt: str
    test_jwt: str
    standin: str
    secret_key: str

    def token(self) -> str:
        """Take a fresh token from the served document, as Swagger UI does."""
        document = httpx.get(f"{self.url}/v1/users/swagger.json", trust_env=False).json()
        properties = document["definitions"]["StripeInfo"]["properties"]
        return str(properties["coord_targeted_token"]["example"])


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Start the sandbox by its command, and read the lines that it prints for people."""
    folder = tmp_path_factory.mktemp("sandbox")
    with _process(folder, os.environ, "sandbox", "--port", "0") as lines:
        text = ""
        until = time.monotonic() + DEADLINE
        while " -d '" not in text:
            line = lines.get(timeout=max(until - time.monotonic(), 0.001))
            assert line, f"the sandbox ended: {text}{(folder / 'stderr').read_text()}"
            text += line

        def printed(pattern: str) -> str:
            found = re.search(pattern, text)
            assert found, text
            return found[1]

        yield Sandbox(
            printed(r"Explorer +(\S+)/v1/users/ui/"),
            printed(r"Access key +(\S+)"),
            printed(r"User JWT +(\S+)"),
            printed(r"Test JWT +(\S+)"),
            printed(r"Stand-in +(\S+)"),
            printed(r"Stand-in .*\(key (\S+)\)"),
        )


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """Serve an empty page at another origin of this machine, and yield its address."""

    class Empty(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><link rel=icon href=data:,>")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}/"
        serving.shutdown()
        thread.join(DEADLINE)


@pytest.fixture(scope="session")
def server(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start the service as an operator does, with the sandbox's stand-in for Stripe."""
    folder = tmp_path_factory.mktemp("server")
    environ = {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{folder}/users.db",
        "STRIPE_API_BASE": sandbox.standin,
        "STRIPE_SECRET_KEY": sandbox.secret_key,
    }
    (folder / "secret").write_text(SHARED_SECRET)
    issuer = ("--issuer", ISSUER, "--audience", AUDIENCE, "--shared-secret-file", folder / "secret")

    def run(*words: object) -> str:
        done = subprocess.run(
            [COMMAND, *map(str, words)],
            env=environ,
            check=True,
            timeout=DEADLINE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return done.stdout.strip()

    run("migrate")
    run("partner", "add", "By Hand", *issuer)
    access_key = run("access-key", "create", "By Hand")
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "someone", "exp": int(time.time()) + 3600}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with _process(folder, environ, "serve", "--port", str(port)):
        until = time.monotonic() + DEADLINE
        while not _is_ready(url):
            assert time.monotonic() < until, (folder / "stderr").read_text()
            time.sleep(0.05)
        yield Server(url, access_key, jwt.encode(claims, SHARED_SECRET, algorithm="HS256"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start Debian's Chromium; where it or Playwright is missing, CI fails and others skip."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("Playwright is missing: pip install playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        _missing("Chromium is missing: apt-get install chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Yield an empty page. The test fails if it logs an error, or fetches from elsewhere.

    Its last state is stored as a screenshot in artifacts/.
    """
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(PATIENCE)
    context.add_init_script(LOG_VIOLATIONS)
    complaints: list[str] = []

    def log(message: ConsoleMessage) -> None:
        # Chromium logs each response of 400 or more; those of the API are wanted.
        is_refusal = "Failed to load resource" in message.text and "/stripe_info?" in str(
            message.location["url"]
        )
        if message.type in ("error", "warning") and not is_refusal:
            complaints.append(message.text)

    def fetched(url: str) -> None:
        if not url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            complaints.append(f"fetched from elsewhere: {url}")

    context.on("console", log)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on("request", lambda asked: fetched(asked.url))
    opened = context.new_page()
    yield opened
    artifacts = request.config.rootpath / "artifacts" / "browser"
    artifacts.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"\W+", "-", request.node.name).strip("-")
    opened.screenshot(path=artifacts / f"{name}.png", full_page=True)
    context.close()
    assert complaints == []


@contextlib.contextmanager
def _process(
    folder: Path, environ: os._Environ[str] | dict[str, str], *words: str
) -> Iterator[queue.Queue[str]]:
    """Run the command; yield the lines of its stdout, and "" at its end."""
    lines: queue.Queue[str] = queue.Queue()
    with (folder / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            [COMMAND, *words], env=environ, stdout=subprocess.PIPE, stderr=stderr, text=True
        )

    def read() -> None:
        assert process.stdout
        with process.stdout as stdout:
            for line in stdout:
                lines.put(line)
        lines.put("")

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield lines
    finally:
        process.terminate()
        try:
            process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(DEADLINE)
        reader.join(DEADLINE)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
