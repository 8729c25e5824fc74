"""The peer most would write: FastAPI with a `def` handler, run in FastAPI's forty threads."""

from typing import Annotated

import jwt
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
customers = usual.client()
app = FastAPI()


@app.post(usual.PATH)
def save(
    info: StripeInfo, access_key: str, authorization: Annotated[str, Header()]
) -> SavedStripeInfo:
    """Save a card."""
    try:
        subject = usual.subject_of(authorization)
    except jwt.InvalidTokenError:
        raise HTTPException(401) from None
    with usual.NewSession() as session:
        if not usual.is_live(session, access_key):
            raise HTTPException(401)
        user = usual.find(session, subject)
        params = {"source": info.coord_targeted_token}
        if user is None:
            customer = customers.create(params)
        else:
            customer = customers.update(user.stripe_customer_id, params)
        usual.store(session, user, subject, customer.id)
    return SavedStripeInfo(coord_targeted_token=info.coord_targeted_token, customer_id=customer.id)
