"""Rows that version 1.0 has made since the migration: they lack the hash that names their user."""

from sqlalchemy import bindparam, case, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from app.customers.user import user_hash
from app.storage.database import Database
from app.storage.tables import issuers, partners, users

# Rows named at a time. Version 1.0 makes few while the processes are replaced one by one.
MOST = 1000
UNNAMED = (
    select(users.c.id, partners.c.name, issuers.c.issuer, users.c.subject)
    .join_from(users, issuers)
    .join(partners)
    .where(users.c.user_hash.is_(None))
    .limit(MOST)
)
HASH = bindparam("p_hash", type_=users.c.user_hash.type)
NAME = update(users).where(users.c.id == bindparam("m_user")).values(user_hash=HASH)
# A row that was rebuilt from Stripe: its user has not come back to this version yet, so no attempt
# and no refusal belongs to it.
DELETE_REBUILT = (
    delete(users)
    .where(users.c.user_hash == HASH, users.c.subject.is_(None), users.c.attempt_id.is_(None))
    .returning(users.c.stripe_customer_id, users.c.default_kind)
)
CUSTOMER = bindparam("p_customer", type_=users.c.stripe_customer_id.type)
KIND = bindparam("p_kind", type_=users.c.default_kind.type)
HAS_NONE = users.c.stripe_customer_id.is_(None)
NAME_AS_REBUILT = NAME.values(
    stripe_customer_id=func.coalesce(users.c.stripe_customer_id, CUSTOMER),
    default_kind=case((HAS_NONE, KIND), else_=users.c.default_kind),
)


def name_rows_of_the_version_before(database: Database, installation: str) -> None:
    """Hash the users of rows that the version before has made since the migration.

    Where the user's row was rebuilt from Stripe, version 1.0, which finds users by their subject
    only, has made a second one. The two become one. It keeps the customer of the second, which was
    acknowledged last; `reconcile` then reports the other one as a duplicate.
    """
    with database.reading() as connection:
        rows = connection.execute(UNNAMED).all()
    for row in rows:
        named = user_hash(installation, row.name, row.issuer, row.subject)
        if not _name(database, row.id, named):
            _merge(database, row.id, named)


def _name(database: Database, user_id: int, named: bytes) -> bool:
    """Store the hash; returns False if another row has it."""
    with database.writing() as connection:
        try:
            connection.execute(NAME, {"m_user": user_id, "p_hash": named})
        except IntegrityError:
            connection.rollback()
            return False
    return True


def _merge(database: Database, user_id: int, named: bytes) -> None:
    with database.writing() as connection:
        rebuilt = connection.execute(DELETE_REBUILT, {"p_hash": named}).one_or_none()
        if rebuilt is None:
            # Another process was faster.
            return
        values = {
            "m_user": user_id,
            "p_hash": named,
            "p_customer": rebuilt.stripe_customer_id,
            "p_kind": rebuilt.default_kind,
        }
        connection.execute(NAME_AS_REBUILT, values)
