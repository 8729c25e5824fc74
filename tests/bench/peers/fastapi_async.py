"""The peer of the fashion: FastAPI with an `async def` handler, Stripe through httpx.

The database is asked on the loop: its statements are short, and that is faster here than
SQLAlchemy's asyncio extension, which takes a thread for each.
"""

from typing import Annotated

import jwt
import stripe
import usual
from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel, ConfigDict, Field


class StripeInfo(BaseModel):
    """The body, and with the customer's id the answer."""

    model_config = ConfigDict(extra="forbid")
    coord_targeted_token: str = Field(pattern=r"^tok_[A-Za-z0-9_]+$", max_length=255)


class SavedStripeInfo(StripeInfo):
    """The answer."""

    customer_id: str


usual.prepare()
customers = usual.client(http_client=stripe.HTTPXClient())
app = FastAPI()


@app.post(usual.PATH)
async def save(
    info: StripeInfo, access_key: str, authorization: Annotated[str, Header()]
) -> SavedStripeInfo:
    """Save a card."""
    try:
        subject = usual.subject_of(authorization)
    except jwt.InvalidTokenError:
        raise HTTPException(401) from None
    # Two sessions, as a loop that holds hundreds of connections would stand still for the pool.
    with usual.NewSession() as session:
        if not usual.is_live(session, access_key):
            raise HTTPException(401)
        user = usual.find(session, subject)
    params = {"source": info.coord_targeted_token}
    if user is None:
        customer = await customers.create_async(params)
    else:
        customer = await customers.update_async(user.stripe_customer_id, params)
    with usual.NewSession() as session:
        usual.store(session, user, subject, customer.id)
    return SavedStripeInfo(coord_targeted_token=info.coord_targeted_token, customer_id=customer.id)
