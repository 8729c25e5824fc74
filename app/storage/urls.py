"""Database URLs in the forms that operators paste: SQLAlchemy's and libpq's.

See https://docs.sqlalchemy.org/en/20/core/engines.html#database-urls and
https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.errors import ConfigurationError

# One `@` at most, and before the first `/`. With another one, part of a password that was not
# escaped would be taken for the name of a host or an option, and those appear in messages.
POSTGRESQL = re.compile(
    r"postgres(?:ql)?(?:\+\w+)?://"
    r"(?:(?P<user>[^:@/]*)(?::(?P<password>[^@/]*))?@)?"
    r"(?P<hosts>[^@/?]*)"
    r"(?:/(?P<dbname>[^@/?]*))?"
    r"(?:\?(?P<query>[^@]*))?"
)
# A name, an IPv6 address in brackets or the folder of a Unix socket; then the port.
HOST = re.compile(r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<name>/.*|[^:\[\]]*))(?::(?P<port>\d*))?")
UNREADABLE = (
    "DATABASE_URL cannot be read: it is sqlite:///FILE or "
    "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with @ in a name, password or option written "
    "as %40, : as %3A, / as %2F and % as %25"
)


@dataclass(frozen=True)
class DatabaseUrl:
    """Where a database is, and how to connect.

    Attributes:
        address: for people: what the URL says, without user name, password and options.
        sqlite: SQLAlchemy's URL of an SQLite file; None for PostgreSQL.
        parameters: libpq's parameters for PostgreSQL, of which some may be secret.
    """

    address: str
    sqlite: URL | None = None
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)


def parse(text: str) -> DatabaseUrl:
    """Parse a database URL.

    Raises:
        ConfigurationError: it cannot be used. The message repeats no part of the URL.
    """
    if text.startswith("postgres"):
        return _postgresql(text)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ConfigurationError(UNREADABLE) from None
    if url.get_backend_name() != "sqlite":
        raise ConfigurationError("DATABASE_URL is for neither SQLite nor PostgreSQL")
    if url.database in (None, "", ":memory:"):
        raise ConfigurationError("DATABASE_URL names no file: SQLite in memory keeps nothing")
    return DatabaseUrl(f"sqlite:///{url.database}", sqlite=url)


def _postgresql(text: str) -> DatabaseUrl:
    parts = POSTGRESQL.fullmatch(text)
    if parts is None:
        raise ConfigurationError(UNREADABLE)
    parameters = {
        name: unquote(parts[name]) for name in ("user", "password", "dbname") if parts[name]
    }
    query = _query(parts["query"] or "")
    parameters.update(query)
    # SQLAlchemy names each of several hosts, with its port, in a parameter `host` of its own.
    named = [value for name, value in query if name == "host"]
    hosts = ",".join(named) if named else unquote(parts["hosts"])
    parameters.update(_hosts(hosts))
    return DatabaseUrl(
        f"postgresql://{hosts}/{parameters.get('dbname', '')}", parameters=parameters
    )


def _query(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text))
    except ValueError:
        raise ConfigurationError(UNREADABLE) from None


def _hosts(text: str) -> dict[str, str]:
    """Split `host:port,host:port` into libpq's two lists."""
    if not text:
        return {}
    hosts, ports = [], []
    for each in text.split(","):
        found = HOST.fullmatch(each)
        if found is None:
            raise ConfigurationError(UNREADABLE)
        hosts.append(found["v6"] or found["name"] or "")
        ports.append(found["port"] or "")
    return {"host": ",".join(hosts)} | ({"port": ",".join(ports)} if any(ports) else {})
