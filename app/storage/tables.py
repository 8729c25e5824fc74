"""The tables. One row of `users` is one user, and holds that user's one open attempt, if any."""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

metadata = MetaData()


class Hidden(bytes):
    """A secret; SQLAlchemy at its most verbose logs the rows that it reads."""

    def __repr__(self) -> str:
        return "<hidden>"


class Secret(TypeDecorator[bytes]):
    """A column of bytes that no log tells."""

    impl = LargeBinary
    cache_ok = True

    def process_result_value(self, value: bytes | None, dialect: object) -> bytes | None:
        """Hide what was read."""
        return None if value is None else Hidden(value)


# SQLite gives only an INTEGER primary key its fast row ids.
Id = BigInteger().with_variant(Integer, "sqlite")


class now(FunctionElement[float]):  # noqa: N801 - a function of SQL, named as one
    """Seconds since the epoch by the database's clock.

    The one clock that all processes and machines share, so leases do not depend on theirs.
    """

    type = Double()
    inherit_cache = True


@compiles(now, "sqlite")
def _now_in_sqlite(*_: Any, **__: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _now_in_postgresql(*_: Any, **__: Any) -> str:
    return "extract(epoch from statement_timestamp())::double precision"


partners = Table(
    "partners",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
    # NULL unless an operator has disabled the partner: then all its credentials are refused.
    Column("disabled_at", Double),
)

# A row is a registration: one issuer of one partner. Users belong to a registration.

issuers = Table(
    "issuers",
    metadata,
    Column("id", Id, primary_key=True),
    Column("partner_id", ForeignKey("partners.id"), nullable=False),
    Column("issuer", String(1000), nullable=False),
    # The first of the registration's audiences, where version 1.0 expects the only one.
    Column("audience", String(1000), nullable=False),
    # A list of further ones; NULL where there are none.
    Column("more_audiences", JSON(none_as_null=True)),
    Column("is_test", Boolean, nullable=False),
    # Exactly one of the three: where the keys are, the keys themselves, or a shared secret.
    Column("jwks_url", String(2000)),
    Column("jwks", JSON(none_as_null=True)),
    Column("shared_secret", Secret),
    Column("created_at", Double, nullable=False),
    # In this order, its index finds an issuer's registrations.
    UniqueConstraint("issuer", "partner_id", name="issuers_issuer_partner_id_key"),
)

access_keys = Table(
    "access_keys",
    metadata,
    Column("id", Id, primary_key=True),
    Column("partner_id", ForeignKey("partners.id"), nullable=False),
    # SHA-256 of the key: 256 random bits need no slow hash.
    Column("key_hash", LargeBinary(32), nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
    Column("last_used_at", Double),
    Column("revoked_at", Double),
)

users = Table(
    "users",
    metadata,
    Column("id", Id, primary_key=True),
    # Names the user here and at Stripe; see `app.customers.user.user_hash`. NULL only where the
    # version before has made the row.
    Column("user_hash", LargeBinary(32)),
    # Both are NULL where the row was rebuilt from Stripe and the user has not come back yet.
    Column("issuer_id", ForeignKey("issuers.id")),
    Column("subject", String(255)),
    # What is settled.
    Column("stripe_customer_id", String(255)),
    Column("token_hash", LargeBinary(32)),
    Column("last_updated", Double),
    # The ids of the attempts that succeeded last, the newest first and one after the other, for
    # requests that waited for one of them.
    Column("accepted_attempts", String(128)),
    # `payment_method` where the customer's default is one; it is then given no `source` again.
    Column("default_kind", String(16)),
    # The default PaymentMethod, where this service attached it.
    Column("payment_method_id", String(255)),
    # The one before, still to be detached.
    Column("replaced_payment_method_id", String(255)),
    # A customer that two rows held before that was forbidden; `reconcile` finds out whose it is.
    Column("shared_customer_id", String(255)),
    # The open attempt; all of it is NULL once the attempt is settled.
    Column("attempt_id", String(32)),
    Column("attempt_request", String(64)),
    Column("attempt_key", String(64)),
    Column("attempt_token_hash", LargeBinary(32)),
    Column("attempt_token", LargeBinary),
    Column("attempt_customer_id", String(255)),
    Column("attempt_email", String(254)),
    Column("attempt_started_at", Double),
    Column("attempt_sent_at", Double),
    # How often it was taken over since it was begun.
    Column("attempt_tries", Integer),
    # The step that the attempt named by `step_of` is at; see `app.customers.steps`.
    Column("step", String(16)),
    Column("step_of", String(32)),
    Column("step_payment_method", String(255)),
    Column("lease_holder", String(32)),
    Column("lease_until", Double),
    # What became of the last attempt that ended without success, for requests that waited for it.
    Column("refusal", JSON(none_as_null=True)),
    # The version before finds a user by it, and so do operators.
    UniqueConstraint("issuer_id", "subject"),
)
Index("users_by_hash", users.c.user_hash, unique=True)
# No two users may hold one customer.
Index("users_by_customer", users.c.stripe_customer_id, unique=True)
# The completer looks for a few rows among millions of settled users: for cards to detach, and for
# open attempts.
Index(
    "users_with_replaced_card",
    users.c.id,
    sqlite_where=users.c.replaced_payment_method_id.is_not(None),
    postgresql_where=users.c.replaced_payment_method_id.is_not(None),
)
Index(
    "users_with_open_attempt",
    users.c.lease_until,
    sqlite_where=users.c.attempt_id.is_not(None),
    postgresql_where=users.c.attempt_id.is_not(None),
)

refusals = Table(
    "refusals",
    metadata,
    Column("id", Id, primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("partner_id", ForeignKey("partners.id"), nullable=False),
    Column("refused_at", Double, nullable=False),
)
Index("refusals_by_user", refusals.c.user_id, refusals.c.refused_at)
Index("refusals_by_partner", refusals.c.partner_id, refusals.c.refused_at)
Index("refusals_by_time", refusals.c.refused_at)

# One row: tells our customers at Stripe from those of another installation on the same account.
installation = Table("installation", metadata, Column("id", String(32), primary_key=True))

leases = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(32), nullable=False),
    Column("until", Double, nullable=False),
)
