"""The explorer: Swagger UI over the served document, and a page on each kind of problem.

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
from typing import NoReturn

import flask
import werkzeug.exceptions
import yaml

from app.contract.document import Contract, Document
from app.errors import InvalidRequest, MethodNotAllowed, NotFound

# RFC 9110, section 7.2; what else a client may send there has no business in a document.
HOST = re.compile(r"([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")
# Swagger UI draws its icons from `data:` and calls the API; no page of ours needs more.
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
# What pages load, by name: the package and folder that it is in, and its type.
ASSETS = {
    "swagger-ui-bundle.js": ("flask_swagger_ui", "dist", "text/javascript; charset=utf-8"),
    "swagger-ui.css": ("flask_swagger_ui", "dist", "text/css; charset=utf-8"),
    "explorer.js": ("app.contract", "static", "text/javascript; charset=utf-8"),
    "explorer.css": ("app.contract", "static", "text/css; charset=utf-8"),
    "icon.svg": ("app.contract", "static", "image/svg+xml"),
}
# What differs from where the document is fetched, as it is written for an address of nobody.
ELSEWHERE = {"host": "host: host.invalid\n", "schemes": "schemes:\n- invalid\n"}
A_YEAR = 365 * 24 * 3600


@dataclass(frozen=True)
class Prefilled:
    """What the sandbox fills in, so that the explorer works with nothing typed.

    Attributes:
        access_key: of the demo partner.
        user_jwt: of one of its users.
        new_token: returns a card token that was never used.
    """

    access_key: str = field(repr=False)
    user_jwt: str = field(repr=False)
    new_token: Callable[[], str]


def explorer(contract: Contract, prefilled: Prefilled | None) -> flask.Blueprint:
    """Build the pages for people, and the document as they read it.

    Args:
        contract: what there is to explore.
        prefilled: what is filled in; only the sandbox does.
    """
    pages = flask.Blueprint("explorer", __name__, template_folder="templates")
    views = _Views(contract, prefilled)
    base = contract.base_path
    pages.add_url_rule(f"{base}/swagger.json", view_func=views.document_as_json)
    pages.add_url_rule(f"{base}/swagger.yaml", view_func=views.document_as_yaml)
    pages.add_url_rule(f"{base}/ui/", view_func=views.ui)
    pages.add_url_rule(f"{base}/ui/<version>/<name>", view_func=views.asset)
    pages.add_url_rule(f"{base}/problems/", view_func=views.problems)
    pages.add_url_rule(f"{base}/problems/<code>", view_func=views.problem)
    # Connexion takes Flask's own redirects, for a missing slash or one too many, for errors; and of
    # a method that a page does not take, it does not tell which ones the page takes.
    pages.record_once(_merge_no_slashes)
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
        # In each asset's address, so that what a browser has kept is never another version's.
        self._version = hashlib.sha256(b"".join(self._assets.values())).hexdigest()[:16]

    def document_as_json(self) -> flask.Response:
        text = json.dumps(self._document(), indent=2, ensure_ascii=False)
        return _uncached(flask.Response(text, content_type="application/json"))

    def document_as_yaml(self) -> flask.Response:
        document = self._document()
        if self._prefilled:
            text = _yaml(document)
        else:
            # To write it all takes a tenth of a second: too much for whoever asks. JSON is YAML.
            text = self._yaml
            for name, elsewhere in ELSEWHERE.items():
                own = f"{name}: {json.dumps(document[name])}\n" if name in document else ""
                text = text.replace(elsewhere, own, 1)
        # The type is registered by RFC 9512.
        return _uncached(flask.Response(text, content_type="application/yaml"))

    def ui(self) -> flask.Response:
        prefilled = {}
        if self._prefilled:
            # By the security scheme's name; the access key is a parameter of the document.
            prefilled["user_jwt"] = f"Bearer {self._prefilled.user_jwt}"
        return self._page("explorer.html", prefilled=prefilled)

    def asset(self, version: str, name: str) -> flask.Response:
        if version != self._version or name not in ASSETS:
            raise NotFound
        answer = flask.Response(self._assets[name], content_type=ASSETS[name][2])
        answer.headers["Cache-Control"] = f"public, max-age={A_YEAR}, immutable"
        return answer

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
        host = flask.request.host
        if not HOST.fullmatch(host):
            raise InvalidRequest("The header `Host` names no host.")
        document = self._contract.served(host, flask.request.scheme)
        if host.startswith("["):
            # Swagger 2.0 has no words for an IPv6 address; without any, readers take the address
            # that the document came from.
            del document["host"]
        if self._prefilled:
            _fill_in(document, self._prefilled)
        return document

    def _page(self, template: str, **told: object) -> flask.Response:
        text = flask.render_template(
            template,
            base=self._contract.base_path,
            assets=f"{self._contract.base_path}/ui/{self._version}",
            **told,
        )
        answer = _uncached(flask.Response(text, content_type="text/html; charset=utf-8"))
        answer.headers["Content-Security-Policy"] = POLICY
        return answer


class _Readable(yaml.SafeDumper):
    """Writes a text of several lines as a person would: as it is."""


def _yaml(document: Document) -> str:
    text: str = yaml.dump(
        document, Dumper=_Readable, sort_keys=False, allow_unicode=True, width=100
    )
    return text


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Readable.add_representer(str, _text)


def _fill_in(document: Document, prefilled: Prefilled) -> None:
    for path in document["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict):
                for parameter in operation.get("parameters", []):
                    if parameter.get("name") == "access_key":
                        parameter["default"] = prefilled.access_key
    token = document["definitions"]["StripeInfo"]["properties"]["coord_targeted_token"]
    token["example"] = prefilled.new_token()


def _redirect_to(path: str) -> Callable[[], flask.typing.ResponseReturnValue]:
    def redirect() -> flask.typing.ResponseReturnValue:
        return flask.redirect(path)

    return redirect


def _merge_no_slashes(state: flask.blueprints.BlueprintSetupState) -> None:
    state.app.url_map.merge_slashes = False


def _method_not_allowed(error: werkzeug.exceptions.MethodNotAllowed) -> NoReturn:
    raise MethodNotAllowed(", ".join(sorted(error.valid_methods or ())))


def _uncached(answer: flask.Response) -> flask.Response:
    answer.headers["Cache-Control"] = "no-store"
    return answer
