"""The service's configuration: environment variables, read and checked in one place."""

import ipaddress
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from app.errors import ConfigurationError

# RFC 6454, section 6.2: nothing behind the port, and all in lower case.
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\sA-Z/?#@*]+")


@dataclass(frozen=True)
class Settings:
    """What an operator can set. Times are in seconds.

    Attributes:
        database_url: of an SQLite or PostgreSQL database; `app.storage.urls` reads it.
        stripe_secret_key: key of Coord's own account; never shown.
        stripe_api_base: where Stripe's API is; empty for Stripe's own address.
        stripe_cards: how a `tok_...` is saved, as a source or as a PaymentMethod.
        stripe_timeout: the longest that one call to Stripe may take.
        request_timeout: the longest that one request may take, waiting and retries included.
        max_in_flight: requests that one worker works on at once.
        log_format: `json` for machines, `console` for people.
        validate_responses: whether each answer is held against the contract before it is sent.
        trusted_proxies: addresses whose forwarded headers are believed.
        cors_origins: origins whose pages may call the API; none unless named.
        refusals_per_user: refused cards of one user within the window before 429.
        refusals_per_partner: the same for all users of one partner.
        refusals_window: the length of that sliding window.
    """

    database_url: str = field(default="sqlite:///coord-users.db", repr=False)
    stripe_secret_key: str = field(default="", repr=False)
    stripe_api_base: str = ""
    stripe_cards: Literal["source", "payment_method"] = "source"
    stripe_timeout: float = 20.0
    request_timeout: float = 25.0
    max_in_flight: int = 1000
    log_format: str = "json"
    validate_responses: bool = True
    trusted_proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    cors_origins: Container[str] = ()
    refusals_per_user: int = 10
    refusals_per_partner: int = 1000
    refusals_window: float = 3600.0

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings that `environ` names; the others keep their defaults.

        Raises:
            ConfigurationError: names the variable, never its value where that is a secret.
        """
        read = _Reader(environ)
        settings = cls(
            database_url=read.text("DATABASE_URL", cls.database_url),
            stripe_secret_key=read.text("STRIPE_SECRET_KEY", ""),
            stripe_api_base=read.text("STRIPE_API_BASE", "").rstrip("/"),
            stripe_cards=(
                "payment_method"
                if read.choice("STRIPE_CARDS", "source", ("source", "payment_method"))
                == "payment_method"
                else "source"
            ),
            stripe_timeout=read.number("STRIPE_TIMEOUT", cls.stripe_timeout, 0.05, 40),
            request_timeout=read.number("REQUEST_TIMEOUT", cls.request_timeout, 0.1, 300),
            max_in_flight=read.count("MAX_IN_FLIGHT", cls.max_in_flight, 10_000),
            log_format=read.choice("LOG_FORMAT", cls.log_format, ("json", "console")),
            validate_responses=read.choice("VALIDATE_RESPONSES", "true", ("true", "false"))
            == "true",
            trusted_proxies=read.words("TRUSTED_PROXIES", cls.trusted_proxies),
            cors_origins=read.words("CORS_ORIGINS", ()),
            refusals_per_user=read.count("REFUSALS_PER_USER", cls.refusals_per_user, 1_000),
            refusals_per_partner=read.count(
                "REFUSALS_PER_PARTNER", cls.refusals_per_partner, 100_000
            ),
            refusals_window=read.number("REFUSALS_WINDOW", cls.refusals_window, 1, 86_400),
        )
        settings._check()
        return settings

    def require_stripe_key(self) -> None:
        """Check that there is a key to serve with.

        Raises:
            ConfigurationError: when the key is missing or is no secret or restricted key.
        """
        if not self.stripe_secret_key:
            raise ConfigurationError("STRIPE_SECRET_KEY is not set: the key of Coord's account")
        if not self.stripe_secret_key.startswith(("sk_", "rk_")):
            raise ConfigurationError(
                "STRIPE_SECRET_KEY is no secret key: it begins with sk_ or rk_"
            )

    def _check(self) -> None:
        if self.stripe_timeout > self.request_timeout:
            raise ConfigurationError("STRIPE_TIMEOUT is longer than REQUEST_TIMEOUT")
        base = urlsplit(self.stripe_api_base or "https://api.stripe.com")
        if base.scheme not in ("http", "https") or not base.hostname:
            raise ConfigurationError("STRIPE_API_BASE is no http or https address")
        if base.scheme == "http" and base.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise ConfigurationError("STRIPE_API_BASE must be https, save on this machine")
        for address in self.trusted_proxies:
            try:
                ipaddress.ip_network(address)
            except ValueError:
                raise ConfigurationError("TRUSTED_PROXIES holds no address or network") from None
        named = self.cors_origins if isinstance(self.cors_origins, tuple) else ()
        if not all(map(ORIGIN.fullmatch, named)):
            raise ConfigurationError(
                "CORS_ORIGINS holds no origin as browsers send it: https://app.example"
            )


class _Reader:
    """Reads one variable at a time and names it where its value makes no sense."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ

    def text(self, name: str, default: str) -> str:
        value = self.environ.get(name, default).strip()
        return value or default

    def words(self, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        if name not in self.environ:
            return default
        return tuple(word.strip() for word in self.environ[name].split(",") if word.strip())

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.text(name, default)
        if value not in choices:
            raise ConfigurationError(f"{name} must be one of: {', '.join(choices)}")
        return value

    def count(self, name: str, default: int, most: int) -> int:
        value = self.number(name, default, 1, most)
        if value != int(value):
            raise ConfigurationError(f"{name} must be a whole number")
        return int(value)

    def number(self, name: str, default: float, least: float, most: float) -> float:
        try:
            value = float(self.text(name, str(default)))
        except ValueError:
            raise ConfigurationError(f"{name} must be a number") from None
        if not least <= value <= most:
            raise ConfigurationError(f"{name} must be between {least:g} and {most:g}")
        return value
