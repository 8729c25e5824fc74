"""Who calls, and for which user: access keys and users' JWTs, checked against registrations."""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeGuard

import structlog
from anyio import CapacityLimiter, to_thread
from sqlalchemy import Engine, func, select, update

from app import errors
from app.customers.user import User
from app.identity.cache import BatchingCache, Ticks
from app.identity.issuers import Registration, Registrations
from app.identity.jwts import LEEWAY, ParsedJwt, is_plain, parse
from app.storage.errors import storage_errors
from app.storage.tables import access_keys, now, partners
from app.strict_json import Json
from app.telemetry.metrics import Metrics

log = structlog.get_logger()

# Scanners for leaked secrets, and our own log, recognise an access key by it.
KEY_PREFIX = "coord_ak_"
# The prefix and 256 random bits in base64url.
KEY_LENGTH = len(KEY_PREFIX) + 43
# In seconds: an operator asks whether a key is still used, and an hour is precise enough.
USE_RECORDED_EVERY = 3600.0
# The last second of the year 9999, beyond which no calendar library goes.
LATEST = 253_402_300_799
# In characters: what the table of users holds, and RFC 5321, section 4.5.3.1.3.
LONGEST_TEXT, LONGEST_EMAIL = 255, 254
EMAIL = re.compile(r"[^\s@<>(),:;\"\\\[\]]+@[^\W_]+(?:(?:\.|-+)[^\W_]+)*\.[^\W_]{2,}")
# Characters that make text look like another one on people's screens (Unicode TR36, section 3.1).
REORDERING = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
IS_USE_TO_RECORD = func.coalesce(access_keys.c.last_used_at, 0.0) <= now() - USE_RECORDED_EVERY


@dataclass
class AccessKey:
    """An access key that is neither revoked nor a disabled partner's."""

    id: int
    partner_id: int
    is_use_to_record: bool


class Identity:
    """Checks credentials against what operators registered.

    Args:
        cache_seconds: After which a change by an operator counts, at most.
        clock: Seconds since the epoch, for the times in JWTs.
    """

    def __init__(
        self,
        engine: Engine,
        metrics: Metrics | None = None,
        *,
        cache_seconds: float = 5.0,
        clock: Callable[[], float] = time.time,
        ticks: Ticks = time.monotonic,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._registrations = Registrations(engine, cache_seconds, metrics or Metrics(), ticks)
        self._keys = BatchingCache[bytes, AccessKey](self._query, cache_seconds, ticks)
        self._recorder = CapacityLimiter(1)
        self._recordings: set[asyncio.Task[None]] = set()

    async def partner_of(self, access_key: str) -> int:
        """Return the id of the partner whose access key it is.

        Raises:
            InvalidAccessKey: It is malformed, unknown or revoked, or its partner is disabled.
            StorageUnavailable: The database cannot be reached.
        """
        is_well_formed = len(access_key) == KEY_LENGTH and access_key.startswith(KEY_PREFIX)
        found = await self._keys.find(hash_of(access_key)) if is_well_formed else None
        if found is None:
            raise errors.InvalidAccessKey
        if found.is_use_to_record:
            found.is_use_to_record = False
            record = to_thread.run_sync(self._record_use, found.id, limiter=self._recorder)
            recording = asyncio.create_task(record)
            self._recordings.add(recording)
            recording.add_done_callback(self._recordings.discard)
        return found.partner_id

    async def user_of(self, jwt: str, partner_id: int | None) -> User:
        """Return the user that a JWT stands for, which came with a partner's access key.

        Raises:
            InvalidUserToken: It is malformed, forged, or not meant for Coord.
            UserTokenExpired: It is genuine and out of date.
            PartnerMismatch: It is for another partner; then nothing else of it was checked.
            IssuerUnavailable: Its issuer's keys cannot be fetched.
            StorageUnavailable: The database cannot be reached.
        """
        parsed = parse(jwt)
        registration = await self._registrations.find(parsed, partner_id)
        await registration.keys.check_signature(parsed, self._clock())
        return read_user(parsed, registration, self._clock())

    def _query(self, hashes: Sequence[bytes]) -> dict[bytes, AccessKey]:
        keys = access_keys.c
        statement = (
            select(keys.key_hash, keys.id, keys.partner_id, IS_USE_TO_RECORD)
            .join_from(access_keys, partners)
            .where(keys.key_hash.in_(hashes))
            .where(keys.revoked_at.is_(None), partners.c.disabled_at.is_(None))
        )
        with storage_errors(), self._engine.connect() as connection:
            rows = connection.execute(statement).all()
        return {key_hash: AccessKey(*rest) for key_hash, *rest in rows}

    def _record_use(self, key_id: int) -> None:
        """Record the use of a key; its request goes on meanwhile, and also if this fails."""
        # Another process may have recorded it already.
        statement = update(access_keys).where(access_keys.c.id == key_id, IS_USE_TO_RECORD)
        try:
            with storage_errors(), self._engine.begin() as connection:
                connection.execute(statement.values(last_used_at=now()))
        except errors.StorageUnavailable as error:
            log.warning("use not recorded", access_key=key_id, reason=error.inner)


def read_user(jwt: ParsedJwt, registration: Registration, now: float) -> User:
    """Read the claims of a JWT that its issuer has signed; `now` in seconds since the epoch.

    Raises:
        InvalidUserToken: A claim is missing or malformed, or the JWT is not valid yet.
        UserTokenExpired: The JWT is in order, but out of date.
    """
    claims = jwt.claims
    subject, email, is_test = map(claims.get, ("sub", "email", "is_test_user"))
    given_name, family_name = map(claims.get, ("given_name", "family_name"))
    if not is_plain(subject, LONGEST_TEXT):
        raise errors.InvalidUserToken("The JWT's `sub` is not plain text of 1 to 255 characters.")
    if "is_test_user" in claims and not isinstance(is_test, bool):
        raise errors.InvalidUserToken("The JWT's `is_test_user` is neither true nor false.")
    _check_times(claims, now)
    return User(
        issuer_id=registration.id,
        partner_id=registration.partner_id,
        partner=registration.partner,
        issuer=jwt.issuer,
        subject=subject,
        email=email if _is_shown(email, LONGEST_EMAIL) and EMAIL.fullmatch(email) else None,
        is_test=bool(is_test) or registration.is_test,
        # OpenID Connect Core 1.0, section 5.1.
        given_name=given_name if _is_shown(given_name, LONGEST_TEXT) else None,
        family_name=family_name if _is_shown(family_name, LONGEST_TEXT) else None,
    )


def _is_shown(text: Json, longest: int) -> TypeGuard[str]:
    return is_plain(text, longest) and not REORDERING.search(text)


def _check_times(claims: dict[str, Json], now: float) -> None:
    """Check RFC 7519, sections 4.1.4 to 4.1.6; expiry comes last, when all else is in order."""
    if "exp" not in claims:
        raise errors.InvalidUserToken("The JWT has no `exp`.")
    expires_at, valid_from, _ = (_seconds(claims, name) for name in ("exp", "nbf", "iat"))
    if now + LEEWAY < valid_from:
        raise errors.InvalidUserToken("The JWT is not valid yet: see its `nbf`.")
    if now - LEEWAY >= expires_at:
        raise errors.UserTokenExpired


def _seconds(claims: dict[str, Json], name: str) -> float:
    time = claims.get(name, 0)
    if isinstance(time, bool) or not isinstance(time, int | float) or not 0 <= time <= LATEST:
        raise errors.InvalidUserToken(f"The JWT's `{name}` is not a number of seconds since 1970.")
    return time


def hash_of(access_key: str) -> bytes:
    """Return the SHA-256 of an access key, which is stored: 256 random bits need no slow hash.

    A guess that is nearly right has quite another one, so the query's duration reveals nothing.
    """
    return sha256(access_key.encode(errors="surrogatepass")).digest()
