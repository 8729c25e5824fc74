"""The explorer's pages without a server, and what a browser would find on them."""

from html.parser import HTMLParser

import flask
from flask.testing import FlaskClient

from app.contract.document import Contract
from app.contract.explorer import Prefilled, explorer

# What the sandbox fills in for the user; it has the form of a JWT.
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJkZW1vIn0.c2lnbmF0dXJl"


class Page(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.words = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, attribute: str) -> list[str]:
        """Return the values of an attribute, from the tags that have it."""
        found = [attributes.get(attribute) for name, attributes in self.tags if name == tag]
        return [value for value in found if value is not None]


def client(contract: Contract, prefilled: Prefilled | None = None) -> FlaskClient:
    """Return a client of the explorer's pages alone."""
    app = flask.Flask("elsewhere", static_folder=None)
    app.testing = True
    app.register_blueprint(explorer(contract, prefilled))
    return app.test_client()
