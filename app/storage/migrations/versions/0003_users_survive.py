"""Users found by a hash, steps of an attempt, PaymentMethods, one customer in one row.

The version before runs on this schema: it writes no hash, so the new version gives such a row its
own when it meets it; it opens no attempt of several steps, whose token it cannot decrypt; and it
leaves the new columns as they are, so `step_of` names the attempt that they belong to.
"""

import hashlib
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    if op.get_context().dialect.name == "sqlite":
        _rebuild_in_sqlite()
    else:
        for column in _new_columns():
            op.add_column("users", column)
        op.alter_column("users", "issuer_id", nullable=True)
        op.alter_column("users", "subject", nullable=True)
    _set_aside_shared_customers()
    _hash_all_users()
    op.create_index("users_by_hash", "users", ["user_hash"], unique=True)
    op.drop_index("users_by_stripe_customer_id", "users")
    op.create_index("users_by_customer", "users", ["stripe_customer_id"], unique=True)
    is_replaced = sa.text("replaced_payment_method_id IS NOT NULL")
    op.create_index(
        "users_with_replaced_card",
        "users",
        ["id"],
        sqlite_where=is_replaced,
        postgresql_where=is_replaced,
    )


def _new_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("user_hash", sa.LargeBinary(32)),
        sa.Column("accepted_attempts", sa.String(128)),
        sa.Column("default_kind", sa.String(16)),
        sa.Column("payment_method_id", sa.String(255)),
        sa.Column("replaced_payment_method_id", sa.String(255)),
        sa.Column("shared_customer_id", sa.String(255)),
        sa.Column("attempt_tries", sa.Integer),
        sa.Column("step", sa.String(16)),
        sa.Column("step_of", sa.String(32)),
        sa.Column("step_payment_method", sa.String(255)),
    ]


def _set_aside_shared_customers() -> None:
    """Let no two rows hold one customer; `coord-users reconcile` finds out whose it is."""
    op.execute(
        "UPDATE users SET shared_customer_id = stripe_customer_id, stripe_customer_id = NULL,"
        " token_hash = NULL WHERE stripe_customer_id IN (SELECT stripe_customer_id FROM users"
        " WHERE stripe_customer_id IS NOT NULL GROUP BY stripe_customer_id HAVING count(*) > 1)"
    )


def _hash_all_users() -> None:
    """Compute what `app.customers.user.user_hash` computes, inside the database."""
    if op.get_context().dialect.name == "sqlite":
        connection = op.get_bind().connection.dbapi_connection
        assert connection is not None
        connection.create_function("user_hash", 4, _user_hash, deterministic=True)
        computed = "user_hash(installation.id, partners.name, issuers.issuer, users.subject)"
    else:
        separator = "|| '\\x00'::bytea ||"
        computed = (
            f"sha256(convert_to(installation.id, 'UTF8') {separator}"
            f" convert_to(partners.name, 'UTF8') {separator}"
            f" convert_to(issuers.issuer, 'UTF8') {separator} convert_to(users.subject, 'UTF8'))"
        )
    # Nothing here comes from outside.
    op.execute(
        f"UPDATE users SET user_hash = (SELECT {computed} FROM installation, issuers"  # noqa: S608
        " JOIN partners ON partners.id = issuers.partner_id WHERE issuers.id = users.issuer_id)"
    )


def _user_hash(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode()).digest()


def _rebuild_in_sqlite() -> None:
    """Make `users` anew with two columns that may be NULL, as SQLite cannot alter a column.

    Refusals refer to its rows. With foreign keys deferred, SQLite counts those references as broken
    when the table is dropped, and as repaired when the rows are inserted again
    (https://sqlite.org/foreignkeys.html, sections 4.2 and 5). That needs one transaction, which
    Python's driver does not begin before a statement that defines something.
    """
    connection = op.get_bind().connection.dbapi_connection
    assert connection is not None
    if not connection.in_transaction:
        op.execute("BEGIN IMMEDIATE")
    op.execute("PRAGMA defer_foreign_keys = ON")
    op.execute("CREATE TABLE users_before AS SELECT * FROM users")
    op.drop_table("users")
    old: list[sa.Column[Any]] = [
        sa.Column("id", ID, primary_key=True),
        sa.Column("issuer_id", ID, sa.ForeignKey("issuers.id")),
        sa.Column("subject", sa.String(255)),
        sa.Column("stripe_customer_id", sa.String(255)),
        sa.Column("token_hash", sa.LargeBinary(32)),
        sa.Column("last_updated", sa.Double),
        sa.Column("attempt_id", sa.String(32)),
        sa.Column("attempt_request", sa.String(64)),
        sa.Column("attempt_key", sa.String(64)),
        sa.Column("attempt_token_hash", sa.LargeBinary(32)),
        sa.Column("attempt_token", sa.LargeBinary),
        sa.Column("attempt_customer_id", sa.String(255)),
        sa.Column("attempt_email", sa.String(254)),
        sa.Column("attempt_started_at", sa.Double),
        sa.Column("attempt_sent_at", sa.Double),
        sa.Column("lease_holder", sa.String(32)),
        sa.Column("lease_until", sa.Double),
        sa.Column("refusal", sa.JSON),
    ]
    names = ", ".join(column.name for column in old)
    unique = sa.UniqueConstraint("issuer_id", "subject")
    op.create_table("users", *old, *_new_columns(), unique)
    op.execute(f"INSERT INTO users ({names}) SELECT {names} FROM users_before")  # noqa: S608
    op.execute("DROP TABLE users_before")
    is_open = sa.text("attempt_id IS NOT NULL")
    op.create_index("users_with_open_attempt", "users", ["lease_until"], sqlite_where=is_open)
    op.create_index("users_by_stripe_customer_id", "users", ["stripe_customer_id"])
