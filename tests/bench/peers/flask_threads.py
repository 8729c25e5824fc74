"""The peer of the long-established way: Flask and jsonschema, under gunicorn with threads."""

import jsonschema
import jwt
import usual
from flask import Flask, abort, request

SCHEMA = {
    "type": "object",
    "required": ["coord_targeted_token"],
    "additionalProperties": False,
    "properties": {
        "coord_targeted_token": {
            "type": "string",
            "pattern": "^tok_[A-Za-z0-9_]+$",
            "maxLength": 255,
        }
    },
}

usual.prepare()
customers = usual.client()
validator = jsonschema.Draft4Validator(SCHEMA)
app = Flask(__name__)


@app.post(usual.PATH)
def save() -> dict[str, str]:
    """Save a card."""
    try:
        subject = usual.subject_of(request.headers.get("Authorization", ""))
    except jwt.InvalidTokenError:
        abort(401)
    info = request.get_json()
    if not validator.is_valid(info):
        abort(400)
    with usual.NewSession() as session:
        if not usual.is_live(session, request.args.get("access_key", "")):
            abort(401)
        user = usual.find(session, subject)
        params = {"source": info["coord_targeted_token"]}
        if user is None:
            customer = customers.create(params)
        else:
            customer = customers.update(user.stripe_customer_id, params)
        usual.store(session, user, subject, customer.id)
    return {**info, "customer_id": customer.id}
