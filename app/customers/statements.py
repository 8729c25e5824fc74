"""The SQL of `app.customers.attempts`: each transition of a user's row is one guarded statement.

Statements are built once. SQLAlchemy's statements refer to themselves, so one built for each
request would be left to the garbage collector, which pauses the whole process.
"""

from typing import Any

from sqlalchemy import (
    Dialect,
    Float,
    Insert,
    Select,
    bindparam,
    case,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from app.customers.refusal_limits import RefusalLimits
from app.storage.tables import now, refusals, users

ATTEMPT_COLUMNS = [
    column for column in users.c if column.name.startswith(("attempt_", "lease_", "step"))
]
# What a settled row holds of an attempt: nothing.
NO_ATTEMPT = {column.name: null() for column in ATTEMPT_COLUMNS}
# What an attempt is read from.
ATTEMPT = (
    users,
    (now() - users.c.attempt_started_at).label("age"),
    (now() - users.c.attempt_sent_at).label("silence"),
)
LEASE = now() + bindparam("p_lease", type_=Float())

# Only while the lease is held: a process that slept too long changes nothing.
HELD = update(users).where(
    users.c.id == bindparam("m_user"),
    users.c.attempt_id == bindparam("m_attempt"),
    users.c.lease_holder == bindparam("m_holder"),
)
# A request looks four times a second at the row that it waits for, and an attempt takes a call to
# Stripe, 0.3 s as a rule. So two can succeed between two looks, and four allow for a slow look.
ACCEPTED_KEPT = 4
ID_LENGTH = 32
NEW_CUSTOMER = bindparam("stripe_customer_id", type_=users.c.stripe_customer_id.type)
NEW_PAYMENT_METHOD = bindparam("payment_method_id", type_=users.c.payment_method_id.type)
ACCEPT = HELD.values(
    **NO_ATTEMPT,
    stripe_customer_id=NEW_CUSTOMER,
    token_hash=bindparam("token_hash", type_=users.c.token_hash.type),
    accepted_attempts=func.substr(
        users.c.attempt_id.concat(func.coalesce(users.c.accepted_attempts, literal_column("''"))),
        literal_column("1"),
        literal_column(str(ACCEPTED_KEPT * ID_LENGTH)),
    ),
    default_kind=bindparam("default_kind", type_=users.c.default_kind.type),
    payment_method_id=NEW_PAYMENT_METHOD,
    # One that is still to be detached keeps its place: a completer may be about to detach it, or a
    # call of it be on its way, so `claim` must refuse it until that is over.
    replaced_payment_method_id=case(
        (users.c.stripe_customer_id.is_distinct_from(NEW_CUSTOMER), null()),
        (
            users.c.replaced_payment_method_id.is_(None)
            & users.c.payment_method_id.is_distinct_from(NEW_PAYMENT_METHOD),
            users.c.payment_method_id,
        ),
        else_=users.c.replaced_payment_method_id,
    ),
    last_updated=now(),
    refusal=null(),
)
# A refused attempt may have found, or made, the customer of a user who had none.
REFUSE = HELD.values(
    **NO_ATTEMPT,
    stripe_customer_id=func.coalesce(users.c.attempt_customer_id, users.c.stripe_customer_id),
    refusal=bindparam("p_refusal", type_=users.c.refusal.type),
)
WITHDRAW = HELD.values(**NO_ATTEMPT)
RELEASE = HELD.values(lease_until=now())
RENEW = HELD.values(lease_until=LEASE, attempt_sent_at=now()).returning(*ATTEMPT)
# Not the time of sending: a call that only reads leaves nothing on its way to Stripe.
EXTEND = HELD.values(lease_until=LEASE)
ADVANCE = RENEW.values(
    attempt_customer_id=bindparam("p_customer"),
    step=bindparam("p_step"),
    step_of=users.c.attempt_id,
    step_payment_method=bindparam("p_payment_method"),
)
RESTART = ADVANCE.values(
    attempt_key=bindparam("p_key"), attempt_email=bindparam("p_email"), attempt_started_at=now()
)
LOCKED_CUSTOMER = (
    select(users.c.stripe_customer_id).where(users.c.id == bindparam("m_user")).with_for_update()
)
CONFIRM = LOCKED_CUSTOMER.where(
    users.c.token_hash == bindparam("m_hash"), users.c.attempt_id.is_(None)
)
CONFIRM_ACCEPTED = LOCKED_CUSTOMER.where(
    users.c.accepted_attempts.contains(bindparam("m_attempt", type_=users.c.attempt_id.type))
)
TAKE_OVER = (
    update(users)
    .where(
        users.c.id == bindparam("m_user"),
        users.c.attempt_id == bindparam("m_attempt"),
        # The second is so if it was leased by this very statement, whose commit was not confirmed.
        or_(users.c.lease_until <= now(), users.c.lease_holder == bindparam("m_holder")),
    )
    .values(
        lease_holder=bindparam("m_holder"),
        lease_until=LEASE,
        attempt_tries=func.coalesce(users.c.attempt_tries, 0) + 1,
    )
    .returning(*ATTEMPT)
)
CLAIM_TO_FORGET = (
    update(users)
    .where(users.c.id == bindparam("m_user"), users.c.attempt_id.is_(None))
    .values(
        attempt_id=bindparam("p_attempt"),
        attempt_request="",
        attempt_key=bindparam("p_attempt"),
        attempt_token_hash=bindparam("p_no_token"),
        attempt_token=bindparam("p_no_token"),
        attempt_customer_id=users.c.stripe_customer_id,
        attempt_started_at=now(),
        attempt_sent_at=now(),
        attempt_tries=0,
        step=bindparam("p_step"),
        step_of=bindparam("p_attempt"),
        lease_holder=bindparam("p_attempt"),
        lease_until=LEASE,
    )
    .returning(*ATTEMPT)
)
DELETE_REFUSALS = refusals.delete().where(
    refusals.c.user_id.in_(
        select(users.c.id).where(
            users.c.id == bindparam("m_user"),
            users.c.attempt_id == bindparam("m_attempt"),
            users.c.lease_holder == bindparam("m_holder"),
        )
    )
)
DELETE_USER = users.delete().where(
    users.c.id == bindparam("m_user"),
    users.c.attempt_id == bindparam("m_attempt"),
    users.c.lease_holder == bindparam("m_holder"),
)
COUNT_REFUSAL = refusals.insert().values(
    user_id=bindparam("user_id"), partner_id=bindparam("partner_id"), refused_at=now()
)

GET_BY_ID = select(users, (users.c.lease_until > now()).label("is_leased")).where(
    users.c.id == bindparam("m_user")
)


def claim(dialect: Dialect, limits: RefusalLimits) -> Insert:
    """Return the one statement that creates or claims a row: two requests cannot both get it."""
    attempt = {
        "attempt_id": bindparam("p_attempt", type_=users.c.attempt_id.type),
        "attempt_request": bindparam("p_request", type_=users.c.attempt_request.type),
        "attempt_key": bindparam("p_attempt", type_=users.c.attempt_key.type),
        "attempt_token_hash": bindparam("p_hash", type_=users.c.attempt_token_hash.type),
        "attempt_token": bindparam("p_token", type_=users.c.attempt_token.type),
        "attempt_email": bindparam("p_email", type_=users.c.attempt_email.type),
        "attempt_started_at": now(),
        "attempt_sent_at": now(),
        "attempt_tries": literal_column("0"),
        "step": bindparam("p_step", type_=users.c.step.type),
        "step_of": bindparam("p_attempt", type_=users.c.step_of.type),
        "step_payment_method": bindparam("p_payment_method", type_=users.c.payment_method_id.type),
        "lease_holder": bindparam("p_attempt", type_=users.c.lease_holder.type),
        "lease_until": LEASE,
    }
    user = {
        "user_hash": bindparam("p_user", type_=users.c.user_hash.type),
        "issuer_id": bindparam("p_issuer", type_=users.c.issuer_id.type),
        "subject": bindparam("p_subject", type_=users.c.subject.type),
    }
    by_partner = limits.refused(
        refusals.c.partner_id == bindparam("p_partner", type_=refusals.c.partner_id.type)
    )
    # By name: SQLAlchemy does not correlate subqueries of this clause, and would join all users.
    by_user = limits.refused(refusals.c.user_id == literal_column("users.id"))
    row = select(*user.values(), *attempt.values()).where(
        by_partner.scalar_subquery() < limits.per_partner
    )
    insert = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[dialect.name]
    statement: Any = insert(users).from_select([*user, *attempt], row)
    excluded = statement.excluded
    claimed: Insert = statement.on_conflict_do_update(
        index_elements=["user_hash"],
        set_={
            **{name: excluded[name] for name in (*user, *attempt)},
            "attempt_customer_id": users.c.stripe_customer_id,
            "step": case(
                (
                    users.c.default_kind.is_not(None),
                    bindparam("p_step_of_pm_customer", type_=users.c.step.type),
                ),
                (
                    users.c.stripe_customer_id.is_not(None),
                    bindparam("p_step_of_customer", type_=users.c.step.type),
                ),
                else_=excluded.step,
            ),
        },
        # The last is so if it was claimed by this very statement, whose commit was not confirmed.
        where=(
            users.c.attempt_id.is_(None)
            & users.c.token_hash.is_distinct_from(excluded.attempt_token_hash)
            # A card that was replaced may be on the point of being detached.
            & (
                excluded.step_payment_method.is_(None)
                | users.c.replaced_payment_method_id.is_distinct_from(excluded.step_payment_method)
            )
            & (by_user.scalar_subquery() < limits.per_user)
        )
        | (users.c.attempt_id == excluded.attempt_id),
    )
    # The refusal itself, not whether it is NULL: SQLite before 3.41 answers the comparison with
    # true in RETURNING, whatever the value.
    return claimed.returning(
        users.c.id,
        users.c.attempt_customer_id,
        users.c.attempt_started_at,
        users.c.step,
        users.c.refusal,
    )


def get(limits: RefusalLimits) -> Select[Any]:
    """Return a query for a user's row and the limits; one row in any case, NULL for a new user."""
    user = bindparam("p_user", type_=users.c.user_hash.type)
    partner = bindparam("p_partner", type_=refusals.c.partner_id.type)
    one = select(literal(1).label("one")).subquery()
    columns = limits.columns(
        refusals.c.user_id == users.c.id, refusals.c.partner_id == partner, beside=users
    )
    is_leased = (users.c.lease_until > now()).label("is_leased")
    row = one.outerjoin(users, users.c.user_hash == user)
    return select(users, is_leased, *columns).select_from(row)


def refused_of_user(limits: RefusalLimits) -> Select[Any]:
    """Return a query for the number of a user's refused cards in the window."""
    query: Select[Any] = limits.refused(refusals.c.user_id == bindparam("p_user"))
    return query
