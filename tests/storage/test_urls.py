"""Database URLs as operators paste them, and messages that repeat no part of a password."""

import pytest

from app.errors import ConfigurationError
from app.storage.database import Database
from app.storage.urls import parse

READABLE = {
    "postgres://u:p@h/db": {"user": "u", "password": "p", "host": "h", "dbname": "db"},
    "postgresql+psycopg2://h:5433/db": {"host": "h", "port": "5433", "dbname": "db"},
    "postgresql://u:p%40s%2Fs%25w%3A@h/": {"user": "u", "password": "p@s/s%w:", "host": "h"},
    "postgresql://u:1?2#3@h/db": {"user": "u", "password": "1?2#3", "host": "h", "dbname": "db"},
    "postgresql://": {},
    "postgresql:///db?user=u&password=p": {"user": "u", "password": "p", "dbname": "db"},
    # Several hosts, as libpq and as SQLAlchemy write them.
    "postgresql://u@h1:1,h2:2,h3/db": {
        "user": "u",
        "host": "h1,h2,h3",
        "port": "1,2,",
        "dbname": "db",
    },
    "postgresql://u@/db?host=h1:1&host=h2:2&sslmode=require": {
        "user": "u",
        "host": "h1,h2",
        "port": "1,2",
        "dbname": "db",
        "sslmode": "require",
    },
    "postgresql://u@/db?host=h1,h2&port=1,2": {
        "user": "u",
        "host": "h1,h2",
        "port": "1,2",
        "dbname": "db",
    },
    "postgresql://[2001:db8::1]:5433,[::1]/db": {
        "host": "2001:db8::1,::1",
        "port": "5433,",
        "dbname": "db",
    },
    # The folder of a Unix socket.
    "postgresql://%2Frun%2Fpostgresql/db": {"host": "/run/postgresql", "dbname": "db"},
    "postgresql:///db?host=/run/postgresql": {"host": "/run/postgresql", "dbname": "db"},
    "postgresql://h/db?options=-c%20search_path%3Dcoord&passfile=/etc/coord/pass": {
        "host": "h",
        "dbname": "db",
        "options": "-c search_path=coord",
        "passfile": "/etc/coord/pass",
    },
}


@pytest.mark.parametrize("url", READABLE)
def test_postgresql_url_is_read(url: str) -> None:
    assert parse(url).parameters == READABLE[url]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("postgres://u:secret@h1:1,h2/db?sslpassword=secret", "postgresql://h1:1,h2/db"),
        ("postgresql:///db?host=h:1&user=u&password=secret", "postgresql://h:1/db"),
        ("sqlite:////var/lib/users.db?timeout=3", "sqlite:////var/lib/users.db"),
    ],
)
def test_address_is_free_of_credentials(url: str, address: str) -> None:
    parsed = parse(url)
    assert parsed.address == address
    assert "secret" not in repr(parsed)


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "sqlite:secret",
        "mysql://u:secret@db/users",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql:secret",
        # Characters that were not escaped.
        "postgresql://u:p@secret@h/db",
        "postgresql://u:p@secret/x@h/db",
        "postgresql://u:p@secret?x=@h/db",
        "postgresql://u:p/secret@h/db",
        "postgresql://u:1/secret?x=@h/db",
        "postgresql://u@1/x?secret@h/db",
        # A port that is not a number is a password whose `@HOST` is missing.
        "postgresql://u:secret/db",
        "postgresql:///db?host=u:secret",
        "postgresql://h]secret/db",
        "postgresql://h/db?secret",
        "postgresql+secret://h/db?prepare_threshold=secret",
        "postgresql://h/db?prepare_threshold=secret",
    ],
)
def test_unusable_url_is_refused_without_a_part_of_it(url: str) -> None:
    """One line names the variable; an unescaped `@` in a password shows none of it."""
    with pytest.raises(ConfigurationError, match="DATABASE_URL") as raised:
        Database(url)
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_option_unknown_to_libpq_is_named() -> None:
    """Other libraries' URLs have options of their own."""
    with pytest.raises(ConfigurationError, match=r'DATABASE_URL.*"schema"'):
        Database("postgresql://u:secret@h/db?schema=users")
