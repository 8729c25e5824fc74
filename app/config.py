"""The service's configuration: environment variables, read and checked in one place."""

import ipaddress
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import urlsplit

from app.errors import ConfigurationError

# RFC 6454, section 6.2: scheme, host and port in lower case, and nothing after them.
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\sA-Z/?#@*]+")
# RFC 9110, section 5.1; `*`, which browsers do not take for `Authorization`, is left out.
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'+.^_`|~-]+")
NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")
STRIPE_KEY = re.compile(r"(sk|rk)_[A-Za-z0-9_]+")
# In TRUSTED_PROXIES: all callers by a Unix domain socket, who have no address.
UNIX = "unix:"
# How long shutting down may take besides draining and the requests in flight, in seconds: to end
# what runs beside the requests, and to close connections.
SHUTDOWN_SECONDS = 5.0
# More than any machine has cores for; the connections to the database are counted for so many.
MAX_WORKERS = 64

StripeCards = Literal["source", "payment_method"]
CARDS: tuple[StripeCards, ...] = ("source", "payment_method")
Choice = TypeVar("Choice", bound=str)


@dataclass(frozen=True)
class Settings:
    """What an operator can set. Times are in seconds.

    Attributes:
        database_url: of an SQLite or PostgreSQL database; `app.storage.urls` reads it.
        stripe_secret_key: key of Coord's own account; never shown.
        stripe_api_base: where Stripe's API is; empty for Stripe's own address.
        stripe_timeout: the longest that one call to Stripe may take.
        stripe_cards: how a `tok_...` is saved at Stripe: as `source` or as `payment_method`.
        request_timeout: the longest that one request may take, waiting and retries included.
        keep_alive_seconds: how long a connection may be idle after a response.
        drain_seconds: how long requests are still taken once the process was told to stop.
        workers: the number of processes.
        max_in_flight: requests that one worker works on at once.
        log_format: `json` for machines, `console` for people.
        validate_responses: whether each response is checked against the contract before it is sent.
        trusted_proxies: addresses and networks whose forwarded headers are used; see `UNIX`.
        cors_origins: origins whose pages may call the API.
        cors_headers: request headers that these pages may send.
        refusals_per_user: refused cards of one user within the window before 429.
        refusals_per_partner: the same for all users of one partner.
        refusals_window: the length of that sliding window.
    """

    database_url: str = field(default="sqlite:///coord-users.db", repr=False)
    stripe_secret_key: str = field(default="", repr=False)
    stripe_api_base: str = ""
    stripe_timeout: float = 20.0
    stripe_cards: StripeCards = "source"
    request_timeout: float = 25.0
    # Longer than proxies keep an idle connection, or one sends a request as it is closed here and
    # answers 502: nginx and AWS's load balancers keep it for 60 s.
    keep_alive_seconds: float = 75.0
    drain_seconds: float = 0.0
    workers: int = 1
    max_in_flight: int = 1000
    log_format: str = "json"
    validate_responses: bool = True
    trusted_proxies: tuple[str, ...] = ("127.0.0.1", "::1", UNIX)
    cors_origins: Container[str] = ()
    # Besides what the contract names, what tools for tracing in browsers add to each request.
    cors_headers: tuple[str, ...] = (
        "Authorization",
        "Content-Type",
        "X-Request-Id",
        "traceparent",
        "tracestate",
        "baggage",
        "sentry-trace",
    )
    refusals_per_user: int = 10
    refusals_per_partner: int = 1000
    refusals_window: float = 3600.0

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings that `environ` names; the others keep their defaults.

        Raises:
            ConfigurationError: a value makes no sense. The message names the variable, and repeats
                no value, as any may be a secret that was pasted into the wrong place.
        """
        read = _Reader(environ)
        settings = cls(
            database_url=read.secret("DATABASE_URL", cls.database_url),
            stripe_secret_key=read.secret("STRIPE_SECRET_KEY", ""),
            stripe_api_base=read.text("STRIPE_API_BASE", "").rstrip("/"),
            stripe_timeout=read.number("STRIPE_TIMEOUT", cls.stripe_timeout, 0.05, 40),
            stripe_cards=read.choice("STRIPE_CARDS", *CARDS),
            request_timeout=read.number("REQUEST_TIMEOUT", cls.request_timeout, 0.1, 300),
            keep_alive_seconds=read.number("KEEP_ALIVE_SECONDS", cls.keep_alive_seconds, 1, 3600),
            drain_seconds=read.number("DRAIN_SECONDS", cls.drain_seconds, 0, 3600),
            workers=read.count("WEB_CONCURRENCY", cls.workers, MAX_WORKERS),
            max_in_flight=read.count("MAX_IN_FLIGHT", cls.max_in_flight, 10_000),
            log_format=read.choice("LOG_FORMAT", "json", "console"),
            validate_responses=read.choice("VALIDATE_RESPONSES", "true", "false") == "true",
            trusted_proxies=read.words("TRUSTED_PROXIES", cls.trusted_proxies),
            cors_origins=read.words("CORS_ORIGINS", ()),
            cors_headers=read.words("CORS_HEADERS", cls.cors_headers),
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
            ConfigurationError: the key is missing, or is not a secret or restricted key.
        """
        if not self.stripe_secret_key:
            raise ConfigurationError("STRIPE_SECRET_KEY is not set: the key of Coord's account")
        if not STRIPE_KEY.fullmatch(self.stripe_secret_key):
            raise ConfigurationError(
                "STRIPE_SECRET_KEY is not a secret key: sk_ or rk_, then letters, digits and _"
            )

    def _check(self) -> None:
        if self.stripe_timeout > self.request_timeout:
            raise ConfigurationError("STRIPE_TIMEOUT is longer than REQUEST_TIMEOUT")
        _check_api_base(self.stripe_api_base or "https://api.stripe.com")
        for address in self.trusted_proxies:
            _check_proxy(address)
        named = self.cors_origins if isinstance(self.cors_origins, tuple) else ()
        if not all(map(ORIGIN.fullmatch, named)):
            raise ConfigurationError(
                "CORS_ORIGINS holds a value that is not an origin as browsers send it, such as "
                "https://partner.example"
            )
        if not all(map(HEADER_NAME.fullmatch, self.cors_headers)):
            raise ConfigurationError("CORS_HEADERS holds a value that is not a header's name")


def _check_api_base(address: str) -> None:
    try:
        base = urlsplit(address)
        is_address = base.scheme in ("http", "https") and base.hostname and base.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise ConfigurationError("STRIPE_API_BASE is not an http or https address")
    if base.scheme == "http" and base.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise ConfigurationError("STRIPE_API_BASE must be https, except on this machine")


def _check_proxy(address: str) -> None:
    try:
        if address != UNIX:
            ipaddress.ip_network(address)
    except ValueError:
        raise ConfigurationError(
            "TRUSTED_PROXIES holds a value that is neither an address nor a network nor `unix:`"
        ) from None


class _Reader:
    """Reads variables, and names one whose value makes no sense."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str, default: str) -> str:
        """Return a value; an empty one counts as not set."""
        return self._environ.get(name, "").strip() or default

    def secret(self, name: str, default: str) -> str:
        """Return a value, or the content of the file that a second variable names."""
        path = self.text(f"{name}_FILE", "")
        if not path:
            return self.text(name, default)
        if self.text(name, ""):
            raise ConfigurationError(f"{name} and {name}_FILE are both set: keep one of them")
        try:
            content = Path(path).read_text("utf-8").strip()
        except OSError as error:
            raise ConfigurationError(f"{name}_FILE cannot be read: {error.strerror}") from None
        except ValueError:
            raise ConfigurationError(f"{name}_FILE does not name a text file in UTF-8") from None
        if not content:
            raise ConfigurationError(f"{name}_FILE names an empty file")
        return content

    def words(self, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """Return values separated by commas; set but empty, it means none."""
        if name not in self._environ:
            return default
        return tuple(word.strip() for word in self._environ[name].split(",") if word.strip())

    def choice(self, name: str, *choices: Choice) -> Choice:
        """Return one of the choices; the first by default."""
        value = self.text(name, choices[0])
        for choice in choices:
            if choice == value:
                return choice
        raise ConfigurationError(f"{name} must be one of: {', '.join(choices)}")

    def count(self, name: str, default: int, most: int) -> int:
        """Return a whole number from 1."""
        value = self.number(name, default, 1, most)
        if value != int(value):
            raise ConfigurationError(f"{name} must be a whole number")
        return int(value)

    def number(self, name: str, default: float, least: float, most: float) -> float:
        """Return a number within bounds."""
        text = self.text(name, str(default))
        if not NUMBER.fullmatch(text):
            raise ConfigurationError(f"{name} must be a number")
        if not least <= float(text) <= most:
            raise ConfigurationError(f"{name} must be between {least:g} and {most:g}")
        return float(text)
