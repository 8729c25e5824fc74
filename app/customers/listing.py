"""Lists users for `coord-users users`, found by indexes at any size."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, select, union

from app.customers.user import user_hash
from app.storage.database import Database
from app.storage.tables import issuers, partners, users

# Rows read by one query: no query takes long, and none holds a transaction while rows are printed.
PAGE = 1000


@dataclass(frozen=True)
class Filter:
    """Which users are listed; None does not restrict."""

    partner: str | None = None
    issuer: str | None = None
    subject: str | None = None
    customer: str | None = None


def list_users(database: Database, which: Filter) -> Iterator[Row[Any]]:
    """Yield users with their partner and issuer, which are None in a rebuilt row.

    Raises:
        StorageUnavailable: the database cannot be used.
    """
    if which == Filter():
        yield from _pages(database, users.c.id, users.c.id > 0)
    elif which.customer is not None:
        yield from _found(database, _has_customer(which))
    elif which.subject is not None:
        yield from _found(database, _has_subject(database, which))
    else:
        for registration in _registrations(database, which):
            of_it = users.c.issuer_id == registration.id
            yield from _pages(database, users.c.subject, of_it)


def _pages(
    database: Database, key: ColumnElement[Any], which: ColumnElement[bool]
) -> Iterator[Row[Any]]:
    """Yield rows in the order of a key, which an index has together with the condition."""
    query = _rows().add_columns(key.label("key")).where(which).order_by(key).limit(PAGE)
    with database.reading() as connection:
        page = connection.execute(query).all()
    while page:
        yield from page
        if len(page) < PAGE:
            return
        with database.reading() as connection:
            page = connection.execute(query.where(key > page[-1].key)).all()


def _found(database: Database, which: ColumnElement[bool]) -> list[Row[Any]]:
    with database.reading() as connection:
        return list(connection.execute(_rows().where(which).order_by(users.c.id)))


def _has_customer(which: Filter) -> ColumnElement[bool]:
    asked = {
        users.c.stripe_customer_id: which.customer,
        users.c.subject: which.subject,
        issuers.c.issuer: which.issuer,
        partners.c.name: which.partner,
    }
    return and_(*(column == value for column, value in asked.items() if value is not None))


def _has_subject(database: Database, which: Filter) -> ColumnElement[bool]:
    """Return the condition for a subject, which a rebuilt row shows only by its hash."""
    subject = which.subject or ""
    registrations = _registrations(database, which)
    installation = database.installation()
    hashes = [user_hash(installation, one.name, one.issuer, subject) for one in registrations]
    by_subject = select(users.c.id).where(
        users.c.issuer_id.in_([one.id for one in registrations]), users.c.subject == subject
    )
    by_hash = select(users.c.id).where(users.c.user_hash.in_(hashes))
    return users.c.id.in_(union(by_subject, by_hash))


def _registrations(database: Database, which: Filter) -> list[Row[Any]]:
    query = select(issuers.c.id, issuers.c.issuer, partners.c.name).join_from(issuers, partners)
    if which.partner is not None:
        query = query.where(partners.c.name == which.partner)
    if which.issuer is not None:
        query = query.where(issuers.c.issuer == which.issuer)
    with database.reading() as connection:
        return list(connection.execute(query.order_by(partners.c.name, issuers.c.id)))


def _rows() -> Select[Any]:
    return (
        select(
            users.c.id,
            partners.c.name.label("partner"),
            issuers.c.issuer,
            users.c.subject,
            users.c.stripe_customer_id,
            users.c.last_updated,
            users.c.refusal,
            users.c.attempt_started_at,
        )
        .outerjoin_from(users, issuers)
        .outerjoin(partners)
    )
