"""What breaks clients in what they get; each with a twin that breaks no client."""

from contract.changes import CARD, DECLINED, LISTED, OK, POST, Change, add, answer, both, drop, put

# As for requests: a change, what is said of it, and its twin.
ANSWERS: dict[str, tuple[Change, str, Change]] = {
    "status": (
        drop(*DECLINED),
        "402: it is not answered any more. It breaks clients that wait for it.",
        put(*POST, "responses", "500", to={}),
    ),
    "new success": (
        put(*POST, "responses", "202", to={}),
        "202: it is a success that was not there.",
        put(*POST, "responses", "409", to={}),
    ),
    "code": (
        drop(*DECLINED, "x-problems", "expired"),
        "402: the code expired is gone. It breaks clients that decide by expired.",
        put(*DECLINED, "x-problems", "stolen", to={}),
    ),
    "code of no operation": (
        drop("x-problems", "not_found"),
        "the code not_found: it is gone.",
        put("x-problems", "gone", to={"status": 410}),
    ),
    "header": (
        drop(*OK, "headers", "X-Request-Id"),
        "200: the header X-Request-Id is gone. It breaks clients that read X-Request-Id.",
        put(*OK, "headers", "X-New", to={"type": "string"}),
    ),
    "header widened": (
        answer("minimum", 0),
        "402, header Retry-After: `minimum` was 1 and is 0. It breaks clients that rely on what",
        answer("minimum", 2),
    ),
    "body of an answer": (
        drop(*DECLINED, "schema"),
        "402: it has no body any more.",
        put("paths", "/cards", "get", "responses", "200", "schema", to={"type": "object"}),
    ),
    "property of an answer": (
        drop(*DECLINED, "schema", "properties", "more"),
        "402, more: it is gone. It breaks clients that read it.",
        put(*DECLINED, "schema", "properties", "other", to={"type": "string"}),
    ),
    "property of a list's items": (
        drop(*LISTED, "id"),
        "PUT /cards, 200, [].id: it is gone. It breaks clients that read it.",
        put(*LISTED, "new", to={"type": "string"}),
    ),
    "property of an answer may be missing": (
        put(*DECLINED, "schema", "required", to=[]),
        "402, code: it may be missing now. It breaks clients that rely on it.",
        put(*DECLINED, "schema", "required", to=["code", "more"]),
    ),
    "answer's type": (
        put(*DECLINED, "schema", "properties", "code", "type", to="integer"),
        "402, code: `type` was string and is integer.",
        put(*DECLINED, "schema", "properties", "code", "minLength", to=1),
    ),
    "answer's form": (
        drop(*OK, "headers", "X-Request-Id", "pattern"),
        "200, header X-Request-Id: `pattern` was ^[a-z]+$ and is not there.",
        put(*OK, "headers", "X-Request-Id", "maxLength", to=9),
    ),
    "answer's values": (
        add(*CARD, "properties", "token", "enum", item="tok_3"),
        "200, token: `enum` was ['tok_1', 'tok_2'] and is ['tok_1', 'tok_2', 'tok_3'].",
        put(*CARD, "properties", "token", "enum", to=["tok_2", "tok_1"]),
    ),
    "echoed values": (
        add(*CARD, "properties", "token", "enum", item="tok_3"),
        "200, token: `enum` was",
        both(
            put(*CARD, "properties", "token", "x-echoed", to=True),
            add(*CARD, "properties", "token", "enum", item="tok_3"),
        ),
    ),
    "property where no others were": (
        put(*CARD, "properties", "new", to={"type": "string"}),
        "200, new: it is new where no others were. It breaks clients that check answers.",
        put(*DECLINED, "schema", "properties", "new", to={"type": "string"}),
    ),
    "further properties in an answer": (
        put(*CARD, "additionalProperties", to=True),
        "200: there may be further properties now. It breaks clients that check answers.",
        put(*DECLINED, "schema", "additionalProperties", to=False),
    ),
}
