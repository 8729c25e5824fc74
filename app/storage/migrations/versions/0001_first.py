"""Partners, issuers, access keys, users with their attempts, refusals, leases."""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "partners",
        sa.Column("id", ID, primary_key=True),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_table(
        "issuers",
        sa.Column("id", ID, primary_key=True),
        sa.Column("partner_id", ID, sa.ForeignKey("partners.id"), nullable=False),
        sa.Column("issuer", sa.String(1000), nullable=False, unique=True),
        sa.Column("audience", sa.String(1000), nullable=False),
        sa.Column("is_test", sa.Boolean, nullable=False),
        sa.Column("jwks_url", sa.String(2000)),
        sa.Column("jwks", sa.JSON),
        sa.Column("shared_secret", sa.LargeBinary),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_table(
        "access_keys",
        sa.Column("id", ID, primary_key=True),
        sa.Column("partner_id", ID, sa.ForeignKey("partners.id"), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("last_used_at", sa.Double),
        sa.Column("revoked_at", sa.Double),
    )
    op.create_table(
        "users",
        sa.Column("id", ID, primary_key=True),
        sa.Column("issuer_id", ID, sa.ForeignKey("issuers.id"), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
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
        sa.UniqueConstraint("issuer_id", "subject"),
    )
    is_open = sa.text("attempt_id IS NOT NULL")
    op.create_index(
        "users_with_open_attempt",
        "users",
        ["lease_until"],
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    op.create_index("users_by_stripe_customer_id", "users", ["stripe_customer_id"])
    op.create_table(
        "refusals",
        sa.Column("id", ID, primary_key=True),
        sa.Column("user_id", ID, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("partner_id", ID, sa.ForeignKey("partners.id"), nullable=False),
        sa.Column("refused_at", sa.Double, nullable=False),
    )
    op.create_index("refusals_by_user", "refusals", ["user_id", "refused_at"])
    op.create_index("refusals_by_partner", "refusals", ["partner_id", "refused_at"])
    op.create_index("refusals_by_time", "refusals", ["refused_at"])
    leases = op.create_table(
        "leases",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("holder", sa.String(32), nullable=False),
        sa.Column("until", sa.Double, nullable=False),
    )
    op.bulk_insert(leases, [{"name": "completer", "holder": "", "until": 0.0}])
    installation = op.create_table("installation", sa.Column("id", sa.String(32), primary_key=True))
    op.bulk_insert(installation, [{"id": uuid.uuid4().hex}])
