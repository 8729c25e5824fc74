"""Clients in JavaScript and TypeScript: swagger-client, OpenAPI Generator's, and openapi-fetch."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from clients.calls import Call, Outcome
from clients.generator import generate
from support.needs import need

HERE = Path(__file__).parent
# To fetch packages, and to compile on a busy machine, in seconds.
DEADLINE = 300.0


class Node:
    """Runs a program of ours that uses a client, and reads the outcome that it prints."""

    kinds: dict[int, str]

    def __init__(self, document: str, program: Path) -> None:
        self._document = document
        self._program = program

    def save(self, call: Call) -> Outcome:
        """Call the operation in a process of its own."""
        said = run("node", str(self._program), self._document, *call)
        return Outcome(**json.loads(said))


class SwaggerClient(Node):
    """The library inside Swagger UI; its errors bear the answer."""

    kinds = dict.fromkeys((401, 402, 403, 422), "Error") | {200: "Object"}

    def __init__(self, document: str, _folder: Path) -> None:
        install()
        super().__init__(document, HERE / "node" / "swagger_client.mjs")


class GeneratedTypeScript(Node):
    """Written by OpenAPI Generator's generator `typescript-fetch`, compiled strictly."""

    kinds = dict.fromkeys((401, 402, 403, 422), "ResponseError with Problem") | {
        200: "SavedStripeInfo"
    }

    def __init__(self, document: str, folder: Path) -> None:
        install()
        generate("typescript-fetch", document, folder / "client", importFileExtension=".js")
        super().__init__(document, compiled("generated", folder))


class OpenapiFetch(Node):
    """openapi-fetch, with the types that openapi-typescript makes of the contract as OpenAPI 3."""

    kinds = dict.fromkeys((401, 402, 403, 422), "error") | {200: "data"}

    def __init__(self, document: str, folder: Path) -> None:
        install()
        openapi = document.replace("/swagger.json", "/openapi.json")
        run_installed("openapi-typescript", openapi, "-o", str(folder / "types.ts"))
        (folder / "node_modules").symlink_to(HERE / "node_modules")
        super().__init__(document, compiled("openapi_fetch", folder))


def compiled(name: str, folder: Path) -> Path:
    """Compile a program of ours, strictly, against what a generator has put into the folder."""
    shutil.copy(HERE / "node" / f"{name}.ts", folder)
    (folder / "package.json").write_text('{"type": "module"}')
    target = ("--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom")
    run_installed("tsc", "--strict", *target, str(folder / f"{name}.ts"))
    return folder / f"{name}.js"


def install() -> None:
    """Install what package-lock.json pins, once; without Node, CI fails and others skip."""
    lock = HERE / "package-lock.json"
    installed = HERE / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        run("npm", "ci", cwd=HERE)


def run(program: str, *words: str, cwd: Path | None = None) -> str:
    """Run a program of Node's, and return its stdout."""
    found = need(program, "apt-get install nodejs npm")
    done = subprocess.run(
        [found, *words], cwd=cwd, capture_output=True, text=True, timeout=DEADLINE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_installed(program: str, *words: str) -> str:
    """Run a program of the installed packages, and return its stdout."""
    return run("node", str(HERE / "node_modules" / ".bin" / program), *words)
