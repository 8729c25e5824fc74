"""Pages for people: Swagger UI over the served document, and a page on each kind of problem.

https://swagger.io/docs/open-source-tools/swagger-ui/usage/configuration/
"""

import hashlib
import importlib.resources
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import groupby
from typing import Any, NoReturn

import flask
import werkzeug.exceptions
import yaml

from app.contract import openapi3
from app.contract.document import Contract, Document, operations
from app.errors import InvalidRequest, MethodNotAllowed, NotFound

# RFC 9110, section 7.2, and `_`, which the names of Docker Compose's services may have. Anything
# else that a client sends as `Host` must not get into a document.
HOST = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")
# Swagger UI draws its icons from `data:` and calls the API; no page needs more.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
# The files that pages load, by name: package, folder and type.
ASSETS = {
    "swagger-ui-bundle.js": ("flask_swagger_ui", "dist", "text/javascript; charset=utf-8"),
    "swagger-ui.css": ("flask_swagger_ui", "dist", "text/css; charset=utf-8"),
    "explorer.js": ("app.contract", "static", "text/javascript; charset=utf-8"),
    "explorer.css": ("app.contract", "static", "text/css; charset=utf-8"),
    "icon.svg": ("app.contract", "static", "image/svg+xml"),
}
# As `app.contract.document.SAFE_LOADER`.
SAFE_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
# An asset's address contains its version, so it never changes: a year in seconds.
ASSET_MAX_AGE = 365 * 24 * 3600


@dataclass(frozen=True)
class Prefilled:
    """What the sandbox fills in, so that the explorer works with nothing typed.

    Attributes:
        access_key: of the demo partner.
        user_jwt: of one of its users.
        new_token: returns a card token that was never used.
        new_payment_method: returns a PaymentMethod that was never attached.
    """

    access_key: str = field(repr=False)
    user_jwt: str = field(repr=False)
    new_token: Callable[[], str]
    new_payment_method: Callable[[], str]


def explorer(contract: Contract, prefilled: Prefilled | None) -> flask.Blueprint:
    """Build the pages, and the addresses of the document.

    Args:
        contract: the document that is shown and served.
        prefilled: what is filled in; only the sandbox does.
    """
    pages = flask.Blueprint("explorer", __name__, template_folder="templates")
    views = _Views(contract, prefilled)
    base = contract.base_path
    pages.add_url_rule(f"{base}/swagger.json", view_func=views.swagger_json)
    pages.add_url_rule(f"{base}/swagger.yaml", view_func=views.swagger_yaml)
    pages.add_url_rule(f"{base}/openapi.json", view_func=views.openapi_json)
    pages.add_url_rule(f"{base}/ui/", view_func=views.ui)
    pages.add_url_rule(f"{base}/ui/<version>/<name>", view_func=views.asset)
    pages.add_url_rule(f"{base}/problems/", view_func=views.problems)
    pages.add_url_rule(f"{base}/problems/<code>", view_func=views.problem)
    # Connexion takes Flask's own redirects for errors, and does not pass on `Allow`.
    pages.app_errorhandler(405)(_method_not_allowed)
    pages.add_url_rule("/", "root", _redirect_to(f"{base}/ui/"))
    pages.add_url_rule(f"{base}/ui", "ui_without_slash", _redirect_to(f"{base}/ui/"))
    pages.add_url_rule(
        f"{base}/problems", "problems_without_slash", _redirect_to(f"{base}/problems/")
    )
    return pages


class _Views:
    def __init__(self, contract: Contract, prefilled: Prefilled | None) -> None:
        self._contract = contract
        self._prefilled = prefilled
        self._assets = {
            name: importlib.resources.files(package).joinpath(folder, name).read_bytes()
            for name, (package, folder, _) in ASSETS.items()
        }
        self._yaml = _yaml(contract.served("host.invalid", "invalid"))
        self._version = hashlib.sha256(b"".join(self._assets.values())).hexdigest()[:16]

    def swagger_json(self) -> flask.Response:
        return _json(self._document())

    def openapi_json(self) -> flask.Response:
        return _json(openapi3.from_swagger(self._document()))

    def swagger_yaml(self) -> flask.Response:
        document = self._document()
        if self._prefilled:
            text = _yaml(document)
        else:
            # To write all of it takes a tenth of a second of CPU: too much for a request that needs
            # no credentials. What differs by request is replaced; JSON is YAML.
            text = self._yaml
            elsewhere = self._contract.served("host.invalid", "invalid")
            for name in elsewhere.keys() & {"host", "basePath", "schemes"}:
                own = f"{name}: {json.dumps(document[name])}\n" if name in document else ""
                text = text.replace(_yaml({name: elsewhere[name]}), own, 1)
        # RFC 9512.
        return _uncached(flask.Response(text, content_type="application/yaml"))

    def ui(self) -> flask.Response:
        # By the name of the security scheme; the access key is a parameter of the document.
        credentials = {"user_jwt": f"Bearer {self._prefilled.user_jwt}"} if self._prefilled else {}
        return self._page("explorer.html", prefilled=credentials)

    def asset(self, version: str, name: str) -> flask.Response:
        if version != self._version or name not in ASSETS:
            raise NotFound
        response = flask.Response(self._assets[name], content_type=ASSETS[name][2])
        response.headers["Cache-Control"] = f"public, max-age={ASSET_MAX_AGE}, immutable"
        return response

    def problems(self) -> flask.Response:
        kinds = sorted(self._contract.problems.values(), key=lambda kind: kind.status)
        by_status = groupby(kinds, key=lambda kind: HTTPStatus(kind.status))
        return self._page("problems.html", by_status=[(one, list(of)) for one, of in by_status])

    def problem(self, code: str) -> flask.Response:
        if code not in self._contract.problems:
            raise NotFound
        kind = self._contract.problems[code]
        example = json.dumps(kind.example, indent=2, ensure_ascii=False)
        return self._page(
            "problem.html", problem=kind, status=HTTPStatus(kind.status), example=example
        )

    def _document(self) -> Document:
        # Werkzeug's `request.host` is empty where a name has a `_`.
        host = flask.request.environ.get("HTTP_HOST", "")
        if not HOST.fullmatch(host):
            raise InvalidRequest("The header `Host` is not a host name.")
        request = flask.request
        document = self._contract.served(host, request.scheme, request.root_path)
        if host.startswith("["):
            # Swagger 2.0 cannot express an IPv6 address. Without `host`, clients take the address
            # that the document came from.
            del document["host"]
        if self._prefilled:
            _fill_in(document, self._prefilled)
        return document

    def _page(self, template: str, **values: object) -> flask.Response:
        base = flask.request.root_path + self._contract.base_path
        text = flask.render_template(
            template, base=base, assets=f"{base}/ui/{self._version}", **values
        )
        response = _uncached(flask.Response(text, content_type="text/html; charset=utf-8"))
        response.headers["Content-Security-Policy"] = POLICY
        return response


class _BlockDumper(SAFE_DUMPER):  # type: ignore[misc]
    """Writes a text of several lines as a block, without escapes."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_BlockDumper.add_representer(str, _represent_text)


def _yaml(document: Document) -> str:
    text: str = yaml.dump(
        document, Dumper=_BlockDumper, sort_keys=False, allow_unicode=True, width=100
    )
    return text


def _json(document: Document) -> flask.Response:
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return _uncached(flask.Response(text, content_type="application/json"))


def _fill_in(document: Document, prefilled: Prefilled) -> None:
    """Fill in what the explorer's forms start with.

    The access key becomes a default, and a fresh token the example of each card token. Swagger 2.0
    has one example for a body, so the description of the body offers the PaymentMethod.
    """
    for _, operation in operations(document):
        for parameter in operation.get("parameters", []):
            if parameter.get("name") == "access_key":
                parameter["default"] = prefilled.access_key
            if parameter.get("name") == "stripe_info":
                body = json.dumps({"coord_targeted_token": prefilled.new_payment_method()})
                parameter["description"] += f". With a fresh PaymentMethod: `{body}`"
    for schema in document.get("definitions", {}).values():
        if token := schema.get("properties", {}).get("coord_targeted_token"):
            token["example"] = prefilled.new_token()


def _redirect_to(path: str) -> Callable[[], flask.typing.ResponseReturnValue]:
    def redirect() -> flask.typing.ResponseReturnValue:
        return flask.redirect(flask.request.root_path + path)

    return redirect


def _method_not_allowed(error: werkzeug.exceptions.MethodNotAllowed) -> NoReturn:
    raise MethodNotAllowed(", ".join(sorted(error.valid_methods or ())))


def _uncached(response: flask.Response) -> flask.Response:
    response.headers["Cache-Control"] = "no-store"
    return response
