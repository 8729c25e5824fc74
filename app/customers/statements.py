"""The statements that read a user's row and change it, for `app.customers.attempts`.

They are made once. SQLAlchemy's statements know themselves, so one made for each request would wait
for the collector, which holds up the whole process.
"""

from typing import Any

from sqlalchemy import (
    Dialect,
    Float,
    Insert,
    Select,
    bindparam,
    func,
    literal,
    literal_column,
    null,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from app.customers.refusal_limits import Limits
from app.storage.tables import issuers, now, refusals, users

# What a settled row holds of an attempt: nothing.
NOTHING = {
    column.name: null()
    for column in users.c
    if column.name.startswith("attempt_") or column.name.startswith("lease_")
}
# What an open row tells of its attempt.
ATTEMPT = (
    users,
    (now() - users.c.attempt_started_at).label("age"),
    (now() - users.c.attempt_sent_at).label("silence"),
)
LEASE = now() + bindparam("p_lease", type_=Float())

# Only while the lease is ours: a process that slept too long changes nothing.
OURS = update(users).where(
    users.c.id == bindparam("m_user"),
    users.c.attempt_id == bindparam("m_attempt"),
    users.c.lease_holder == bindparam("m_holder"),
)
ACCEPT = OURS.values(
    **NOTHING,
    stripe_customer_id=bindparam("stripe_customer_id"),
    token_hash=bindparam("token_hash"),
    last_updated=now(),
    refusal=null(),
)
REFUSE = OURS.values(**NOTHING, refusal=bindparam("p_told", type_=users.c.refusal.type))
RELEASE = OURS.values(lease_until=now())
RENEW = OURS.values(lease_until=LEASE, attempt_sent_at=now()).returning(*ATTEMPT)
ANEW = RENEW.values(
    attempt_key=bindparam("p_key"),
    attempt_customer_id=bindparam("p_customer"),
    attempt_email=bindparam("p_email"),
    attempt_started_at=now(),
)
TAKE_OVER = (
    update(users)
    .where(
        users.c.id == bindparam("m_user"),
        users.c.attempt_id == bindparam("m_attempt"),
        users.c.lease_until <= now(),
    )
    .values(lease_holder=bindparam("m_holder"), lease_until=LEASE)
    .returning(*ATTEMPT)
)
COUNT_REFUSAL = refusals.insert().values(
    user_id=bindparam("user_id"), partner_id=bindparam("partner_id"), refused_at=now()
)
FORGET_REFUSALS = refusals.delete().where(refusals.c.refused_at < now() - bindparam("p_window"))

ABANDONED = (
    select(users.c.id, users.c.attempt_id, issuers.c.partner_id)
    .join_from(users, issuers)
    .where(users.c.attempt_id.is_not(None), users.c.lease_until <= now())
    .order_by(users.c.lease_until)
    .limit(bindparam("p_most"))
)
OPEN_ONES = select(
    func.count(), func.coalesce(now() - func.min(users.c.attempt_started_at), 0.0)
).where(users.c.attempt_id.is_not(None))


def begin(dialect: Dialect, limits: Limits) -> Insert:
    """One statement that makes or claims the row: two requests cannot both get it."""
    attempt = {
        "attempt_id": bindparam("p_attempt", type_=users.c.attempt_id.type),
        "attempt_request": bindparam("p_request", type_=users.c.attempt_request.type),
        "attempt_key": bindparam("p_attempt", type_=users.c.attempt_key.type),
        "attempt_token_hash": bindparam("p_hash", type_=users.c.attempt_token_hash.type),
        "attempt_token": bindparam("p_token", type_=users.c.attempt_token.type),
        "attempt_email": bindparam("p_email", type_=users.c.attempt_email.type),
        "attempt_started_at": now(),
        "attempt_sent_at": now(),
        "lease_holder": bindparam("p_attempt", type_=users.c.lease_holder.type),
        "lease_until": LEASE,
    }
    by_partner = limits.refused(
        refusals.c.partner_id == bindparam("p_partner", type_=refusals.c.partner_id.type)
    )
    # By name: SQLAlchemy does not correlate subqueries of this clause, and would join all users.
    by_user = limits.refused(refusals.c.user_id == literal_column("users.id"))
    row = select(
        bindparam("p_issuer", type_=users.c.issuer_id.type),
        bindparam("p_subject", type_=users.c.subject.type),
        *attempt.values(),
    ).where(by_partner.scalar_subquery() < limits.per_partner)
    insert = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[dialect.name]
    statement: Any = insert(users).from_select(["issuer_id", "subject", *attempt], row)
    claimed: Insert = statement.on_conflict_do_update(
        index_elements=["issuer_id", "subject"],
        set_={
            **{name: statement.excluded[name] for name in attempt},
            "attempt_customer_id": users.c.stripe_customer_id,
        },
        where=(
            users.c.attempt_id.is_(None)
            & users.c.token_hash.is_distinct_from(statement.excluded.attempt_token_hash)
            & (by_user.scalar_subquery() < limits.per_user)
        ),
    )
    return claimed.returning(
        users.c.id,
        users.c.attempt_customer_id,
        users.c.attempt_started_at,
        users.c.refusal.is_not(None).label("was_refused"),
    )


def look(limits: Limits) -> Select[Any]:
    """A row in any case, so that the limits of a new user's partner are told as well."""
    issuer = bindparam("p_issuer", type_=users.c.issuer_id.type)
    subject = bindparam("p_subject", type_=users.c.subject.type)
    partner = bindparam("p_partner", type_=refusals.c.partner_id.type)
    one = select(literal(1).label("one")).subquery()
    columns = limits.columns(
        refusals.c.user_id == users.c.id, refusals.c.partner_id == partner, beside=users
    )
    row = one.outerjoin(users, (users.c.issuer_id == issuer) & (users.c.subject == subject))
    is_leased = (users.c.lease_until > now()).label("is_leased")
    return select(users, is_leased, *columns).select_from(row)


def refused_of_user(limits: Limits) -> Select[Any]:
    """How many cards of one user were refused in the window."""
    query: Select[Any] = limits.refused(refusals.c.user_id == bindparam("p_user"))
    return query
