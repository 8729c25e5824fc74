"""A missing or invalid variable stops the start with one line, which does not repeat the value."""

import os
from pathlib import Path

import pytest

from app.config import Settings
from app.errors import ConfigurationError


def test_only_the_key_is_required() -> None:
    """Nothing has to be set but the key."""
    settings = Settings.from_environ({})
    assert settings == Settings()
    assert settings.database_url == "sqlite:///coord-users.db"


def test_empty_value_counts_as_unset() -> None:
    """As compose files set variables that the operator left out. Lists may be empty."""
    names = ("DATABASE_URL", "STRIPE_TIMEOUT", "LOG_FORMAT", "WEB_CONCURRENCY", "DATABASE_URL_FILE")
    assert Settings.from_environ(dict.fromkeys(names, " ")) == Settings()
    assert Settings.from_environ({"TRUSTED_PROXIES": ""}).trusted_proxies == ()


def test_values_are_read() -> None:
    """Each variable sets its field."""
    settings = Settings.from_environ(
        {
            "DATABASE_URL": "postgresql://db/users",
            "STRIPE_SECRET_KEY": "sk_live_x",
            "STRIPE_API_BASE": "http://127.0.0.1:1/",
            "STRIPE_TIMEOUT": "7",
            "STRIPE_CARDS": "payment_method",
            "REQUEST_TIMEOUT": "8",
            "KEEP_ALIVE_SECONDS": "620",
            "DRAIN_SECONDS": "2.5",
            "WEB_CONCURRENCY": "3",
            "MAX_IN_FLIGHT": "9",
            "LOG_FORMAT": "console",
            "VALIDATE_RESPONSES": "false",
            "TRUSTED_PROXIES": "10.0.0.0/8, 127.0.0.1, unix:, ::ffff:10.0.0.1",
            "CORS_ORIGINS": "https://app.example",
            "CORS_HEADERS": "authorization, X-More",
            "REFUSALS_PER_USER": "3",
            "REFUSALS_PER_PARTNER": "4",
            "REFUSALS_WINDOW": "5",
        }
    )
    assert settings == Settings(
        database_url="postgresql://db/users",
        stripe_secret_key="sk_live_x",
        stripe_api_base="http://127.0.0.1:1",
        stripe_timeout=7,
        stripe_cards="payment_method",
        request_timeout=8,
        keep_alive_seconds=620,
        drain_seconds=2.5,
        workers=3,
        max_in_flight=9,
        log_format="console",
        validate_responses=False,
        trusted_proxies=("10.0.0.0/8", "127.0.0.1", "unix:", "::ffff:10.0.0.1"),
        cors_origins=("https://app.example",),
        cors_headers=("authorization", "X-More"),
        refusals_per_user=3,
        refusals_per_partner=4,
        refusals_window=5,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STRIPE_API_BASE", "ftp://example"),
        ("STRIPE_API_BASE", "http://api.stripe.example"),
        ("STRIPE_API_BASE", "https://[::1"),
        ("STRIPE_API_BASE", "https://api.stripe.example:65536"),
        ("STRIPE_API_BASE", "sk_live_hunter2"),
        ("STRIPE_TIMEOUT", "soon"),
        ("STRIPE_TIMEOUT", "0"),
        ("STRIPE_TIMEOUT", "nan"),
        ("STRIPE_TIMEOUT", "30"),
        ("STRIPE_TIMEOUT", "2_0"),
        ("STRIPE_TIMEOUT", "1e1"),
        ("STRIPE_TIMEOUT", "9" * 400),
        ("STRIPE_CARDS", "Source"),
        ("REQUEST_TIMEOUT", "1000"),
        ("KEEP_ALIVE_SECONDS", "0"),
        ("DRAIN_SECONDS", "-1"),
        ("DRAIN_SECONDS", "5s"),
        ("WEB_CONCURRENCY", "auto"),
        ("WEB_CONCURRENCY", "0"),
        ("WEB_CONCURRENCY", "65"),
        ("MAX_IN_FLIGHT", "-1"),
        ("MAX_IN_FLIGHT", "1.5"),
        ("LOG_FORMAT", "xml"),
        ("VALIDATE_RESPONSES", "perhaps"),
        ("TRUSTED_PROXIES", "everybody"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TRUSTED_PROXIES", "*"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "app.example"),
        ("CORS_ORIGINS", "https://App.example"),
        ("CORS_ORIGINS", "https://app.example, https://other.example/"),
        ("CORS_HEADERS", "*"),
        ("CORS_HEADERS", "X More"),
        ("CORS_HEADERS", "X-More\r\nSet-Cookie: a"),
        ("REFUSALS_PER_USER", "none"),
    ],
)
def test_invalid_value_is_refused(name: str, value: str) -> None:
    """The line names the variable only: a secret may have been put into the wrong one."""
    with pytest.raises(ConfigurationError, match=name) as raised:
        Settings.from_environ({name: value})
    assert "\n" not in str(raised.value)
    assert len(value) < 5 or value not in str(raised.value)


@pytest.mark.parametrize(
    "key",
    ["", "pk_live_x", "hunter2", "sk_live_x y", "sk_live_\u00e4", "sk_", "sk_live_x\nsk_live_y"],
)
def test_key_of_the_wrong_kind(key: str) -> None:
    """The line does not repeat any part of the key."""
    with pytest.raises(ConfigurationError, match="STRIPE_SECRET_KEY") as raised:
        Settings.from_environ({"STRIPE_SECRET_KEY": key}).require_stripe_key()
    assert not key or key == "sk_" or key not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_secrets_are_not_shown() -> None:
    """The repr of the settings has neither the key nor the database's password."""
    shown = repr(Settings(stripe_secret_key="sk_live_x", database_url="postgresql://a:hunter2@b/c"))
    assert "sk_live_x" not in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [("DATABASE_URL", "postgresql://a:hunter2@b/c"), ("STRIPE_SECRET_KEY", "sk_live_x")],
)
def test_secret_from_a_file(name: str, value: str, tmp_path: Path) -> None:
    """As Docker and Kubernetes mount secrets; a trailing newline is dropped."""
    file = tmp_path / "secret"
    file.write_text(value + "\n")
    settings = Settings.from_environ({name: "", f"{name}_FILE": str(file)})
    assert settings == Settings.from_environ({name: value})
    assert settings != Settings()


def test_file_of_a_secret_that_cannot_be_read(tmp_path: Path) -> None:
    """One line states the reason, without the value, which may be the secret itself."""
    binary, empty = tmp_path / "binary", tmp_path / "empty"
    binary.write_bytes(b"\xff")
    empty.write_text("\n")
    for value, reason in (
        ("sk_live_hunter2", "cannot be read: No such file or directory"),
        (str(tmp_path), "cannot be read: Is a directory"),
        (str(binary), "does not name a text file in UTF-8"),
        (str(empty), "names an empty file"),
        ("x" * 10_000, f"cannot be read: {os.strerror(36)}"),
    ):
        with pytest.raises(ConfigurationError) as raised:
            Settings.from_environ({"STRIPE_SECRET_KEY_FILE": value})
        assert str(raised.value) == f"STRIPE_SECRET_KEY_FILE {reason}"


def test_secret_that_is_given_twice(tmp_path: Path) -> None:
    """One of two would be ignored silently."""
    file = tmp_path / "secret"
    file.write_text("sk_live_x")
    environ = {"STRIPE_SECRET_KEY": "sk_live_y", "STRIPE_SECRET_KEY_FILE": str(file)}
    with pytest.raises(ConfigurationError, match="STRIPE_SECRET_KEY_FILE are both set"):
        Settings.from_environ(environ)
