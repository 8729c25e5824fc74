"""`coord-users serve`: the service."""

import dataclasses
import gc
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.commands.shared import plainly, read_settings
from app.config import MAX_WORKERS, Settings

if TYPE_CHECKING:
    from app.telemetry.metrics import Metrics
    from app.web.edge import Edge


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help=":: takes IPv4 as well.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--uds",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="A Unix domain socket to listen on, instead of host and port.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, MAX_WORKERS),
    help="Processes that serve.  [default: WEB_CONCURRENCY, else 1]",
)
@plainly
def serve(host: str, port: int, uds: Path | None, workers: int | None) -> None:
    """Run the service.

    SIGTERM stops it: /readyz answers 503 at once, requests are taken for DRAIN_SECONDS more, and
    those in flight end. SIGHUP reads files of secrets again.
    """
    # As process 1 of a container, it would otherwise ignore it until it serves.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # What the start builds lasts. `app.web.server.tune_interpreter` turns it on again.
    gc.disable()
    from app.service import check_account
    from app.web.serve import serve as listen_and_serve

    settings = read_settings()
    settings.require_stripe_key()
    if workers is not None:
        settings = dataclasses.replace(settings, workers=workers)
    check_account(settings)
    listen_and_serve(_build, settings, host, port, uds)


def _build(metrics: "Metrics") -> "Edge":
    """Build the service from the settings as they are now: files of secrets may have changed."""
    from app.service import create_app

    return create_app(Settings.from_environ(os.environ), metrics=metrics)
