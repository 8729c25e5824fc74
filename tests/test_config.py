"""A missing or senseless value stops the start with one clear line."""

import pytest

from app.config import Settings
from app.errors import ConfigurationError


def test_defaults_make_sense() -> None:
    """Nothing has to be set but the key."""
    settings = Settings.from_environ({})
    assert settings == Settings()
    assert settings.database_url == "sqlite:///coord-users.db"


def test_values_are_read() -> None:
    """Each variable reaches its setting."""
    settings = Settings.from_environ(
        {
            "DATABASE_URL": "postgresql://db/users",
            "STRIPE_SECRET_KEY": "sk_live_x",
            "STRIPE_API_BASE": "http://127.0.0.1:1/",
            "STRIPE_TIMEOUT": "7",
            "REQUEST_TIMEOUT": "8",
            "MAX_IN_FLIGHT": "9",
            "LOG_FORMAT": "console",
            "VALIDATE_RESPONSES": "false",
            "TRUSTED_PROXIES": "10.0.0.0/8, 127.0.0.1",
            "CORS_ORIGINS": "https://app.example",
            "REFUSALS_PER_USER": "3",
            "REFUSALS_PER_PARTNER": "4",
            "REFUSALS_WINDOW": "5",
        }
    )
    assert settings == Settings(
        "postgresql://db/users",
        "sk_live_x",
        "http://127.0.0.1:1",
        7,
        8,
        9,
        "console",
        False,
        ("10.0.0.0/8", "127.0.0.1"),
        ("https://app.example",),
        3,
        4,
        5,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STRIPE_API_BASE", "ftp://example"),
        ("STRIPE_API_BASE", "http://api.stripe.example"),
        ("STRIPE_TIMEOUT", "soon"),
        ("STRIPE_TIMEOUT", "0"),
        ("STRIPE_TIMEOUT", "nan"),
        ("STRIPE_TIMEOUT", "30"),
        ("REQUEST_TIMEOUT", "1000"),
        ("MAX_IN_FLIGHT", "-1"),
        ("MAX_IN_FLIGHT", "1.5"),
        ("LOG_FORMAT", "xml"),
        ("VALIDATE_RESPONSES", "perhaps"),
        ("TRUSTED_PROXIES", "everybody"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "app.example"),
        ("CORS_ORIGINS", "https://App.example"),
        ("CORS_ORIGINS", "https://app.example, https://other.example/"),
        ("REFUSALS_PER_USER", "none"),
    ],
)
def test_senseless_value(name: str, value: str) -> None:
    """The line names the variable."""
    with pytest.raises(ConfigurationError, match=name) as raised:
        Settings.from_environ({name: value})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("key", ["", "pk_live_x", "hunter2"])
def test_key_of_the_wrong_kind(key: str) -> None:
    """The line does not repeat what may be a secret."""
    with pytest.raises(ConfigurationError, match="STRIPE_SECRET_KEY") as raised:
        Settings.from_environ({"STRIPE_SECRET_KEY": key}).require_stripe_key()
    assert not key or key not in str(raised.value)


def test_key_is_not_shown() -> None:
    """Whoever prints the settings does not print the key."""
    assert "sk_live_x" not in repr(Settings(stripe_secret_key="sk_live_x"))
