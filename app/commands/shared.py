"""What the commands share: errors in one line, the settings, the database, and tables."""

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import wraps
from itertools import islice
from typing import TYPE_CHECKING, ParamSpec

import click

from app.config import Settings
from app.errors import ConfigurationError, Misconfigured, StorageUnavailable
from app.stripe_account.outcomes import OutcomeUnknown

if TYPE_CHECKING:
    from app.storage.database import Database

Parameters = ParamSpec("Parameters")

# Rows of a table that are held at once, to know how wide its columns are.
PAGE = 1000


def plainly(command: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Decorate a command so that an error is one line on stderr, and the exit status 1."""

    @wraps(command)
    def plain(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except ConfigurationError as error:
            raise click.ClickException(str(error)) from None
        except StorageUnavailable as error:
            raise click.ClickException(f"The database cannot be used: {error.inner}") from None
        except (OutcomeUnknown, Misconfigured) as error:
            raise click.ClickException(f"Stripe cannot be used: {error}") from None

    return plain


def read_settings() -> Settings:
    """Read the settings from the environment, and log as they say."""
    from app.telemetry import logs

    settings = Settings.from_environ(os.environ)
    logs.configure(settings.log_format)
    return settings


def open_database() -> "Database":
    """Open the database that the settings name, until the command ends.

    Raises:
        ConfigurationError: It cannot be reached, or it is not migrated.
    """
    from app.storage.database import open_migrated

    database = open_migrated(read_settings().database_url)
    click.get_current_context().call_on_close(database.close)
    return database


def progress(words: str) -> None:
    """Print how far a long command is, on stderr."""
    click.echo(words, err=True)


def utc(seconds: float | None) -> str | None:
    """Format a time as RFC 3339 in UTC, to the second."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat("T", "seconds")


def print_table(rows: Iterable[Mapping[str, object]]) -> None:
    """Print rows in columns; nothing where there are none.

    Each column is as wide as its widest cell so far: rows are held by pages, not all at once.
    """
    iterator = iter(rows)
    widths: dict[str, int] = {}
    while page := [_cells(row) for row in islice(iterator, PAGE)]:
        if not widths:
            page.insert(0, {name: name for name in page[0]})
        for name in page[0]:
            widths[name] = max([widths.get(name, 0), *(len(row[name]) for row in page)])
        for row in page:
            click.echo("  ".join(row[name].ljust(widths[name]) for name in widths).rstrip())


def _cells(row: Mapping[str, object]) -> dict[str, str]:
    return {name: "" if value is None else str(value) for name, value in row.items()}
