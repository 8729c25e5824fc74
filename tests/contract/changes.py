"""A small contract, to be changed in one place at a time."""

import copy
from collections.abc import Callable
from typing import Any

import yaml

Document = dict[str, Any]
Change = Callable[[Document], Any]

# Small, and with something of each kind that there is a rule on.
BASE: Document = yaml.safe_load("""
swagger: '2.0'
info: {version: 1.4.0}
basePath: /v1
consumes: [application/json, application/xml]
produces: [application/json, application/problem+json]
securityDefinitions:
  key: {type: apiKey, in: query, name: key}
  jwt: {type: apiKey, in: header, name: Authorization}
  cookie: {type: apiKey, in: header, name: Cookie}
x-problems:
  not_found: {status: 404}
definitions:
  Spare: {type: object}
  Card:
    type: object
    required: [token]
    additionalProperties: false
    properties:
      token: {type: string, enum: [tok_1, tok_2]}
      id: {type: string, readOnly: true}
      note: {type: string}
paths:
  /cards:
    put:
      operationId: put_card
      parameters:
      - in: body
        name: card
        schema:
          type: object
          required: [token]
          properties:
            token: {type: string, maxLength: 9, minLength: 2, pattern: '^tok_', enum: [a, b]}
            count: {type: integer, minimum: 1, maximum: 9}
            names: {type: array, items: {type: string, maxLength: 4}, minItems: 1, maxItems: 3}
      responses:
        '200':
          schema:
            type: array
            items: {type: object, properties: {id: {type: string}}}
    get:
      operationId: get_cards
      parameters: []
      responses: {'200': {}}
    post:
      operationId: post_card
      tags: [Cards, Users]
      security:
      - {key: [], jwt: []}
      - {cookie: []}
      parameters:
      - {in: query, name: key, type: string, required: true}
      - {in: query, name: limit, type: integer, maximum: 50}
      - {in: body, name: card, schema: {$ref: '#/definitions/Card'}}
      responses:
        '200':
          headers: {X-Request-Id: {type: string, pattern: '^[a-z]+$'}}
          schema: {$ref: '#/definitions/Card'}
        '402':
          headers: {Retry-After: {type: integer, minimum: 1}}
          schema:
            type: object
            required: [code]
            properties: {code: {type: string}, more: {type: string}}
          x-problems: {declined: {}, expired: {}}
""")
POST = ("paths", "/cards", "post")
OK = (*POST, "responses", "200")
LISTED = ("paths", "/cards", "put", "responses", "200", "schema", "items", "properties")
DECLINED = (*POST, "responses", "402")
CARD = ("definitions", "Card")
# Of a request alone, so that widening it breaks no client.
BODY = ("paths", "/cards", "put", "parameters", 0, "schema")
SENT = (*BODY, "properties")


def at(node: Any, where: tuple[Any, ...]) -> Any:
    """Find a place in a document."""
    for key in where:
        node = node[key]
    return node


def put(*where: Any, to: Any) -> Change:
    """Change or add one value."""

    def change(document: Document) -> None:
        at(document, where[:-1])[where[-1]] = to

    return change


def drop(*where: Any) -> Change:
    """Take one value away."""

    def change(document: Document) -> None:
        del at(document, where[:-1])[where[-1]]

    return change


def add(*where: Any, item: Any) -> Change:
    """Add to a list."""
    return lambda document: at(document, where).append(item)


def answer(keyword: str, to: Any) -> Change:
    """Change one rule on what is only in answers: the number that a header has, or a code."""
    return put(*DECLINED, "headers", "Retry-After", keyword, to=to)


def both(*changes: Change) -> Change:
    """Make several changes."""

    def change(document: Document) -> None:
        for one in changes:
            one(document)

    return change


def after(change: Change) -> Document:
    """Return the document with one change."""
    document = copy.deepcopy(BASE)
    change(document)
    return document
