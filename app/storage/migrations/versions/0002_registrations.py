"""Registrations: several audiences, one issuer for several partners, partners disabled.

The version before runs on this schema: it reads and writes `audience`, the first of a
registration's audiences, and ignores the new columns. It expects one registration for an issuer,
so a second partner registers the same issuer once all processes run this version.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# What version 1.0 stored of an issuer.
KEEP = """
    CREATE TABLE issuers_before AS
    SELECT id, partner_id, issuer, audience, is_test, jwks_url, jwks, shared_secret, created_at
    FROM issuers
"""
RESTORE = """
    INSERT INTO issuers
        (id, partner_id, issuer, audience, is_test, jwks_url, jwks, shared_secret, created_at)
    SELECT id, partner_id, issuer, audience, is_test, jwks_url, jwks, shared_secret, created_at
    FROM issuers_before
"""


def upgrade() -> None:
    if op.get_context().dialect.name == "sqlite":
        _rebuild_in_sqlite()
    else:
        op.add_column("issuers", sa.Column("more_audiences", sa.JSON))
        op.drop_constraint("issuers_issuer_key", "issuers")
        op.create_unique_constraint(
            "issuers_issuer_partner_id_key", "issuers", ["issuer", "partner_id"]
        )
    op.add_column("partners", sa.Column("disabled_at", sa.Double))


def _rebuild_in_sqlite() -> None:
    """Make `issuers` anew, as SQLite cannot drop a constraint.

    Users refer to its rows. With foreign keys deferred, SQLite counts those references as broken
    when the table is dropped, and as repaired when the rows are inserted again
    (https://sqlite.org/foreignkeys.html, sections 4.2 and 5). That needs one transaction, which
    Python's driver does not begin before a statement that defines something.
    """
    driver: Any = op.get_bind().connection.dbapi_connection
    if not driver.in_transaction:
        op.execute("BEGIN IMMEDIATE")
    op.execute("PRAGMA defer_foreign_keys = ON")
    op.execute(KEEP)
    op.drop_table("issuers")
    op.create_table(
        "issuers",
        sa.Column("id", ID, primary_key=True),
        sa.Column("partner_id", ID, sa.ForeignKey("partners.id"), nullable=False),
        sa.Column("issuer", sa.String(1000), nullable=False),
        sa.Column("audience", sa.String(1000), nullable=False),
        sa.Column("more_audiences", sa.JSON),
        sa.Column("is_test", sa.Boolean, nullable=False),
        sa.Column("jwks_url", sa.String(2000)),
        sa.Column("jwks", sa.JSON),
        sa.Column("shared_secret", sa.LargeBinary),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.UniqueConstraint("issuer", "partner_id", name="issuers_issuer_partner_id_key"),
    )
    op.execute(RESTORE)
    op.execute("DROP TABLE issuers_before")
