"""What the peers share: tables, engine and credentials, the way tutorials have them.

One transaction for a request, open while Stripe is asked; a crash in between leaves a customer
that no user owns. The pool is as large as any peer's threads, so that none waits for it.
"""

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import jwt
import stripe
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from sqlalchemy import UniqueConstraint, create_engine, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

PATH = "/v1/users/user/current/stripe_info"
ISSUER = os.environ["ISSUER"]
AUDIENCE = os.environ["AUDIENCE"]
PUBLIC_KEY: Any = load_pem_public_key(Path(os.environ["PUBLIC_KEY"]).read_bytes())


class Base(DeclarativeBase):
    """The tables."""


class AccessKey(Base):
    """A partner's access key, by its hash."""

    __tablename__ = "access_keys"
    id: Mapped[int] = mapped_column(primary_key=True)
    key_hash: Mapped[bytes] = mapped_column(unique=True)


class User(Base):
    """A user and its Stripe customer."""

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("issuer", "subject"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    issuer: Mapped[str]
    subject: Mapped[str]
    stripe_customer_id: Mapped[str]
    last_updated: Mapped[float]


engine = create_engine(os.environ["DATABASE_URL"], pool_size=100, connect_args={"timeout": 30})
NewSession = sessionmaker(engine)


@event.listens_for(engine, "connect")
def _make_durable(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def prepare() -> None:
    """Make the tables and the one access key."""
    Base.metadata.create_all(engine)
    with NewSession() as session:
        session.add(AccessKey(key_hash=_hash(os.environ["ACCESS_KEY"])))
        session.commit()


def client(**options: Any) -> Any:
    """Return Stripe's client; its types lack `source`, which the API takes."""
    return stripe.StripeClient(
        os.environ["STRIPE_SECRET_KEY"],
        base_addresses={"api": os.environ["STRIPE_API_BASE"]},
        **options,
    ).v1.customers


def is_live(session: Session, access_key: str) -> bool:
    """Return whether the access key is known."""
    query = select(AccessKey.id).where(AccessKey.key_hash == _hash(access_key))
    return session.scalar(query) is not None


def subject_of(authorization: str) -> str:
    """Verify a bearer token.

    Raises:
        jwt.InvalidTokenError: it is not the issuer's.
    """
    token = authorization.removeprefix("Bearer ")
    claims = jwt.decode(token, PUBLIC_KEY, ["RS256"], audience=AUDIENCE, issuer=ISSUER)
    return str(claims["sub"])


def find(session: Session, subject: str) -> User | None:
    """Find the user."""
    query = select(User).where(User.issuer == ISSUER, User.subject == subject)
    return session.scalar(query)


def store(session: Session, user: User | None, subject: str, customer_id: str) -> None:
    """Store the user's customer."""
    if user is None:
        user = User(issuer=ISSUER, subject=subject)
        session.add(user)
    user.stripe_customer_id = customer_id
    user.last_updated = time.time()
    session.commit()


def _hash(access_key: str) -> bytes:
    return hashlib.sha256(access_key.encode()).digest()
