"""What breaks clients in what they send, and where; each with a twin that breaks no client."""

from contract.changes import BODY, CARD, POST, SENT, Change, add, drop, put

# For each rule a change that breaks clients, what is said of it, and a twin that breaks none.
REQUESTS: dict[str, tuple[Change, str, Change]] = {
    "base path": (
        put("basePath", to="/v2"),
        "basePath: it was /v1 and is /v2. It breaks all clients.",
        put("host", to="elsewhere"),
    ),
    "path": (
        drop("paths", "/cards"),
        "POST /cards: it is gone. It breaks all clients that call it.",
        put("paths", "/new", to={"get": {"responses": {"200": {}}}}),
    ),
    "operation": (
        drop("paths", "/cards", "get"),
        "GET /cards: it is gone.",
        put("paths", "/cards", "patch", to={"responses": {"200": {}}}),
    ),
    "operationId": (
        put(*POST, "operationId", to="save"),
        "its operationId was post_card, is save. It breaks clients whose code was generated",
        put(*POST, "summary", to="save"),
    ),
    "tag": (
        put(*POST, "tags", to=["Users"]),
        "it has the tag Cards no more. It breaks clients whose code was generated",
        add(*POST, "tags", item="More"),
    ),
    "model": (
        drop("definitions", "Spare"),
        "the model Spare: it is gone. It breaks clients whose code was generated",
        put("definitions", "More", to={}),
    ),
    "request type": (
        put("consumes", to=["application/json"]),
        "`consumes` has application/xml no more. It breaks clients that send that.",
        add("consumes", item="text/plain"),
    ),
    "answer type": (
        put(*POST, "produces", to=["application/json"]),
        "`produces` has application/problem+json no more. It breaks clients that accept only that.",
        add("produces", item="application/xml"),
    ),
    "security alternative": (
        drop(*POST, "security", 1),
        "cookie is not enough any more. It breaks clients with cookie.",
        add(*POST, "security", item={"key": []}),
    ),
    "security demands more": (
        put(*POST, "security", 1, to={"cookie": [], "key": []}),
        "cookie is not enough any more.",
        put(*POST, "security", 0, to={"jwt": []}),
    ),
    "security where there was none": (
        put("paths", "/cards", "get", "security", to=[{"jwt": []}]),
        "no credential is not enough any more.",
        put("paths", "/cards", "get", "security", to=[{"jwt": []}, {}]),
    ),
    "security scheme": (
        put("securityDefinitions", "jwt", "name", to="X-Token"),
        "the security scheme jwt: its `name` was Authorization and is X-Token.",
        put("securityDefinitions", "jwt", "description", to="words"),
    ),
    "parameter": (
        drop(*POST, "parameters", 1),
        "query parameter limit: it is not taken any more. It breaks clients that send it.",
        add(*POST, "parameters", item={"in": "query", "name": "new", "type": "string"}),
    ),
    "parameter moved": (
        put(*POST, "parameters", 1, "in", to="header"),
        "query parameter limit: it is not taken any more.",
        put(*POST, "parameters", 1, "description", to="words"),
    ),
    "parameter newly required": (
        put(*POST, "parameters", 1, "required", to=True),
        "query parameter limit: it is newly required. It breaks clients that do without it.",
        put(*POST, "parameters", 0, "required", to=False),
    ),
    "new required parameter": (
        add(*POST, "parameters", item={"in": "query", "name": "new", "required": True}),
        "query parameter new: it is new, and required.",
        add(*POST, "parameters", item={"in": "query", "name": "new", "required": False}),
    ),
    "parameter narrowed": (
        put(*POST, "parameters", 1, "maximum", to=40),
        "limit: `maximum` was 50 and is 40. It breaks clients that send what was allowed",
        put(*POST, "parameters", 1, "maximum", to=60),
    ),
    "parameter's type": (
        put(*POST, "parameters", 1, "type", to="boolean"),
        "limit: `type` was integer and is boolean.",
        put(*POST, "parameters", 1, "type", to="number"),
    ),
    "body's name": (
        put(*POST, "parameters", 2, "name", to="stripe"),
        "the body: its name was card and is stripe. It breaks clients whose code was generated",
        put(*POST, "parameters", 2, "description", to="words"),
    ),
    "body newly required": (
        put(*POST, "parameters", 2, "required", to=True),
        "the body: it is newly required.",
        put(*POST, "parameters", 2, "required", to=False),
    ),
    "property newly required": (
        put(*BODY, "required", to=["token", "count"]),
        "the body, count: it is newly required. It breaks clients that do without it.",
        put(*BODY, "required", to=[]),
    ),
    "property not taken any more": (
        drop(*CARD, "properties", "note"),
        "the body, note: it is not taken any more. It breaks clients that send it.",
        put(*CARD, "properties", "note", "description", to="words"),
    ),
    "property newly read-only": (
        put(*CARD, "properties", "note", "readOnly", to=True),
        "the body, note: it is newly read-only. It breaks clients that send it.",
        drop(*CARD, "properties", "id", "readOnly"),
    ),
    "further properties in a request": (
        put(*BODY, "additionalProperties", to=False),
        "the body: further properties are refused. It breaks clients that send some.",
        put(*BODY, "additionalProperties", to=True),
    ),
    "type": (
        put(*SENT, "token", "type", to="integer"),
        "the body, token: `type` was string and is integer.",
        put(*SENT, "count", "type", to="number"),
    ),
    "pattern": (
        put(*SENT, "token", "pattern", to="^token_"),
        "the body, token: `pattern` was ^tok_ and is ^token_.",
        drop(*SENT, "token", "pattern"),
    ),
    "pattern's alternatives": (
        put(*SENT, "token", "pattern", to="^(pm|card)_"),
        "the body, token: `pattern` was ^tok_ and is ^(pm|card)_.",
        put(*SENT, "token", "pattern", to="^(tok|pm)_"),
    ),
    "format": (
        put(*SENT, "token", "format", to="uuid"),
        "the body, token: `format` was not there and is uuid.",
        put(*SENT, "token", "example", to="tok_1"),
    ),
    "maxLength": (
        put(*SENT, "token", "maxLength", to=8),
        "the body, token: `maxLength` was 9 and is 8.",
        put(*SENT, "token", "maxLength", to=10),
    ),
    "minLength": (
        put(*SENT, "token", "minLength", to=3),
        "the body, token: `minLength` was 2 and is 3.",
        put(*SENT, "token", "minLength", to=1),
    ),
    "enum": (
        put(*SENT, "token", "enum", to=["a"]),
        "the body, token: `enum` was ['a', 'b'] and is ['a'].",
        put(*SENT, "token", "enum", to=["b", "a", "c"]),
    ),
    "new enum": (
        put(*SENT, "count", "enum", to=[1, 2]),
        "the body, count: `enum` was not there and is [1, 2].",
        drop(*SENT, "token", "enum"),
    ),
    "minimum": (
        put(*SENT, "count", "minimum", to=2),
        "the body, count: `minimum` was 1 and is 2.",
        put(*SENT, "count", "minimum", to=0),
    ),
    "maximum": (
        put(*SENT, "count", "maximum", to=8),
        "the body, count: `maximum` was 9 and is 8.",
        drop(*SENT, "count", "maximum"),
    ),
    "maxItems": (
        put(*SENT, "names", "maxItems", to=2),
        "the body, names: `maxItems` was 3 and is 2.",
        put(*SENT, "names", "maxItems", to=4),
    ),
    "minItems": (
        put(*SENT, "names", "minItems", to=2),
        "the body, names: `minItems` was 1 and is 2.",
        drop(*SENT, "names", "minItems"),
    ),
    "items": (
        put(*SENT, "names", "items", "maxLength", to=3),
        "the body, names[]: `maxLength` was 4 and is 3.",
        put(*SENT, "names", "items", "maxLength", to=5),
    ),
}
