"""The explorer: the document as it is served, the page around it, and the pages on errors."""

import copy
import itertools
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import flask
import pytest
import yaml
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV2SpecValidator

from app.contract.document import Contract
from app.contract.explorer import POLICY, Prefilled, explorer
from app.errors import InvalidRequest, MethodNotAllowed, NotFound

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJkZW1vIn0.c2lnbmF0dXJl"
# Of our own making, for what the shipped contract does not hold.
ODD: dict[str, Any] = {
    "swagger": "2.0",
    "info": {"title": "Odd", "description": "First line.\n\n```\n  code \\\n```", "version": "1"},
    "host": "api.example",
    "basePath": "/odd",
    "x-problems": {
        "<b>&": {
            "status": 400,
            "title": "<script>alert(1)</script>",
            "meaning": "The header `<X-Odd>` is <missing>.",
            "remedy": "See https://example.com/a?b=1&c=2. Then `try` again.",
            "example": {"code": "</code><b>"},
        },
    },
    "paths": {
        "/things/{id}": {
            "parameters": [{"in": "path", "name": "id", "type": "string", "required": True}],
            "get": {
                "parameters": [{"in": "query", "name": "limit", "type": "integer"}],
                "responses": {"200": {"description": "OK"}},
            },
            "delete": {"responses": {"204": {"description": "Gone"}}},
        },
    },
    "definitions": {"StripeInfo": {"properties": {"coord_targeted_token": {"type": "string"}}}},
}


class Page(HTMLParser):
    """What a browser would find on a page."""

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
        """Give the attribute's values, of those tags that have it."""
        found = [attributes.get(attribute) for name, attributes in self.tags if name == tag]
        return [value for value in found if value is not None]


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract.shipped("swagger.yaml")


@pytest.fixture
def prefilled() -> Prefilled:
    number = itertools.count(1)
    return Prefilled("demo_key", JWT, lambda: f"tok_fresh_{next(number)}")


def client(contract: Contract, prefilled: Prefilled | None = None) -> FlaskClient:
    app = flask.Flask("elsewhere", static_folder=None)
    app.testing = True
    app.register_blueprint(explorer(contract, prefilled))
    return app.test_client()


@pytest.fixture
def outside(contract: Contract) -> FlaskClient:
    return client(contract)


@pytest.fixture
def sandbox(contract: Contract, prefilled: Prefilled) -> FlaskClient:
    return client(contract, prefilled)


def test_document_names_the_host_and_scheme_that_it_was_fetched_by(outside: FlaskClient) -> None:
    """So that "Try it out" calls the service that the page came from."""
    document = outside.get("/v1/users/swagger.json", base_url="https://api.test:8443").json
    assert document["host"] == "api.test:8443"
    assert document["schemes"] == ["https"]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example/path",
        "user@evil.example",
        "evil.example:port",
        "evil.example:123456",
        '"><script>',
        "two hosts",
        "[::1",
        "name." * 51,
        "under_score.example",
        "",
    ],
)
@pytest.mark.parametrize("path", ["swagger.json", "swagger.yaml"])
def test_no_host_of_a_strange_form_gets_into_the_document(
    outside: FlaskClient, path: str, host: str
) -> None:
    """The header `Host` is the caller's word: what is no host is refused."""
    with pytest.raises(InvalidRequest):
        outside.get(f"/v1/users/{path}", headers={"Host": host})


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "A-1.example:80"])
def test_hosts_of_each_usual_form_are_served(outside: FlaskClient, host: str) -> None:
    """A name or an IPv4 address, with a port or without; HTTP's own port goes without saying."""
    answer = outside.get("/v1/users/swagger.json", headers={"Host": host})
    assert answer.json["host"] == host.removesuffix(":80")


def test_document_fetched_by_an_ipv6_address_names_no_host(outside: FlaskClient) -> None:
    """Swagger 2.0 cannot say it; without `host`, readers take the address they fetched it by."""
    document = outside.get("/v1/users/swagger.json", headers={"Host": "[::1]:8080"}).json
    assert "host" not in document


def test_served_document_is_the_contract_without_internals(
    outside: FlaskClient, contract: Contract
) -> None:
    """What is served is what stands in the file, save for the host and our functions' names."""
    answer = outside.get("/v1/users/swagger.json")
    assert answer.json == contract.served("localhost", "http")
    assert answer.content_type == "application/json"
    assert "app.security" not in answer.text


@pytest.mark.parametrize("place", ["outside", "sandbox"])
def test_served_document_is_valid(place: str, request: pytest.FixtureRequest) -> None:
    """By a validator that is not Connexion's, filled in or not."""
    document = request.getfixturevalue(place).get("/v1/users/swagger.json").json
    OpenAPIV2SpecValidator(document).validate()


def test_yaml_says_the_same_in_the_same_order(outside: FlaskClient) -> None:
    """The two forms differ in nothing but form."""
    answer = outside.get("/v1/users/swagger.yaml")
    as_json = outside.get("/v1/users/swagger.json").text
    assert json.dumps(yaml.safe_load(answer.text), indent=2, ensure_ascii=False) == as_json
    assert answer.content_type == "application/yaml"


def test_yaml_is_not_written_anew_for_whoever_asks(
    outside: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take a tenth of a second each time, under any name of the host."""
    monkeypatch.setattr("app.contract.explorer._yaml", lambda _: pytest.fail("it is"))
    for host in ("one.example", "1.5", "null", "[::1]:80"):
        answer = outside.get("/v1/users/swagger.yaml", headers={"Host": host})
        document = yaml.safe_load(answer.text)
        assert document.get("host") == (None if host.startswith("[") else host)
        assert document["schemes"] == ["http"]


def test_yaml_reads_as_a_person_would_write_it(outside: FlaskClient, contract: Contract) -> None:
    """Texts of several lines stand as they are, with no escapes; nothing is an alias."""
    text = outside.get("/v1/users/swagger.yaml").text
    for line in contract.document["info"]["description"].splitlines():
        assert f"    {line}".rstrip() in text.splitlines()
    assert "\\n" not in text
    assert not re.search(r": [&*]\w", text)


def test_outside_the_sandbox_nothing_is_filled_in(outside: FlaskClient, contract: Contract) -> None:
    """No default, no credential: people bring their own."""
    page = Page(outside.get("/v1/users/ui/").text)
    assert page.all("div", "data-prefilled") == ["{}"]
    assert "Press Authorize" in page.words
    [operation] = outside.get("/v1/users/swagger.json").json["paths"].values()
    assert all("default" not in parameter for parameter in operation["post"]["parameters"])


def test_in_the_sandbox_the_document_has_the_access_key_and_a_token(sandbox: FlaskClient) -> None:
    """Swagger UI puts a parameter's default and a property's example into its form."""
    document = sandbox.get("/v1/users/swagger.json").json
    access_key, body = document["paths"]["/user/current/stripe_info"]["post"]["parameters"]
    assert access_key["default"] == "demo_key"
    assert "default" not in body
    token = document["definitions"]["StripeInfo"]["properties"]["coord_targeted_token"]
    assert token["example"] == "tok_fresh_1"


def test_each_load_has_a_fresh_token(sandbox: FlaskClient) -> None:
    """A token is good for one use."""
    texts = [sandbox.get(f"/v1/users/swagger.{form}").text for form in ("json", "yaml", "json")]
    found = [re.findall(r"tok_fresh_\d+", text) for text in texts]
    assert found == [["tok_fresh_1"], ["tok_fresh_2"], ["tok_fresh_3"]]


def test_filling_in_leaves_the_contract_as_it_is(sandbox: FlaskClient, contract: Contract) -> None:
    """The router's document is not the one that is served."""
    before = copy.deepcopy(contract.document)
    sandbox.get("/v1/users/swagger.json")
    assert contract.document == before


def test_filling_in_passes_over_other_operations(prefilled: Prefilled) -> None:
    """Parameters of a path, others of an operation, and operations with none are left alone."""
    served = client(Contract(ODD), prefilled).get("/odd/swagger.json").json
    assert served["paths"] == ODD["paths"]


def test_in_the_sandbox_the_page_has_the_jwt(sandbox: FlaskClient) -> None:
    """As data for the script: there is no script in the page itself."""
    page = Page(sandbox.get("/v1/users/ui/").text)
    [prefilled] = page.all("div", "data-prefilled")
    assert json.loads(prefilled) == {"user_jwt": f"Bearer {JWT}"}
    assert "This is the sandbox" in page.words


def test_prefilled_credentials_do_not_show_in_a_log(prefilled: Prefilled) -> None:
    """Their `repr` has none of them."""
    assert "demo_key" not in repr(prefilled)
    assert JWT not in repr(prefilled)


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/", "/v1/users/ui/"),
        ("/v1/users/ui", "/v1/users/ui/"),
        ("/v1/users/problems", "/v1/users/problems/"),
    ],
)
def test_short_addresses_lead_to_the_pages(outside: FlaskClient, path: str, where: str) -> None:
    """The way there is relative, so that no proxy or `Host` can bend it."""
    answer = outside.get(path)
    assert answer.status_code == 302
    assert answer.headers["Location"] == where


@pytest.mark.parametrize("path", ["/v1/users//swagger.json", "//v1/users/ui/", "/v1//users/ui/"])
def test_slash_too_many_is_another_address(outside: FlaskClient, path: str) -> None:
    """There is nothing there; Flask's way, to redirect, Connexion would take for a failure."""
    assert outside.get(path).status_code == 404


def test_pages_tell_which_methods_they_take(outside: FlaskClient) -> None:
    """RFC 9110, section 15.5.6: a 405 names them in `Allow`."""
    with pytest.raises(MethodNotAllowed) as caught:
        outside.post("/v1/users/ui/")
    assert caught.value.allow == "GET, HEAD, OPTIONS"


def pages(client: FlaskClient) -> Iterator[tuple[flask.Response, Page]]:
    for path in ("ui/", "problems/", "problems/card_declined"):
        answer = client.get(f"/v1/users/{path}")
        yield answer, Page(answer.text)


def test_pages_say_what_they_are(outside: FlaskClient) -> None:
    """Each has a title, a language and a width for narrow screens."""
    for answer, page in pages(outside):
        assert answer.status_code == 200
        assert answer.content_type == "text/html; charset=utf-8"
        assert page.all("html", "lang") == ["en"]
        assert "Coord Users API" in page.words
        assert "width=device-width, initial-scale=1" in page.all("meta", "content")


def test_explorer_leads_to_the_document_and_the_errors(outside: FlaskClient) -> None:
    """It tells where the document is, in both forms, and where errors are explained."""
    page = Page(outside.get("/v1/users/ui/").text)
    links = page.all("a", "href")
    assert links == ["/v1/users/swagger.json", "/v1/users/swagger.yaml", "/v1/users/problems/"]
    for link in links:
        assert outside.get(link).status_code == 200


def test_pages_run_nothing_but_our_own_files(outside: FlaskClient) -> None:
    """A policy forbids it, and no page has a script or a style of its own to be forbidden."""
    for answer, page in pages(outside):
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.text.count("<script") == len(page.all("script", "src"))
        assert "<style" not in answer.text
        for _, attributes in page.tags:
            assert not [name for name in attributes if name == "style" or name.startswith("on")]
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY


def test_pages_load_all_from_here_to_be_kept(outside: FlaskClient) -> None:
    """Nothing comes from the network; what never changes at its address is fetched once."""
    kinds = set()
    for _, page in pages(outside):
        for address in page.all("script", "src") + page.all("link", "href"):
            assert address.startswith("/v1/users/ui/")
            answer = outside.get(address)
            assert answer.status_code == 200
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            kinds.add(answer.content_type)
    assert kinds == {
        "text/javascript; charset=utf-8",
        "text/css; charset=utf-8",
        "image/svg+xml",
    }


def test_swagger_ui_is_of_version_5(outside: FlaskClient) -> None:
    """Version 4 came with an old sanitizer."""
    sources = Page(outside.get("/v1/users/ui/").text).all("script", "src")
    bundle = outside.get(sources[0]).text
    assert re.search(r'"?(version|PACKAGE_VERSION)"?[:=]"5\.\d+\.\d+"', bundle)


def test_what_may_change_is_not_kept(sandbox: FlaskClient) -> None:
    """Pages and documents may hold credentials and a fresh token."""
    for path in ("ui/", "problems/", "problems/internal", "swagger.json", "swagger.yaml"):
        assert sandbox.get(f"/v1/users/{path}").headers["Cache-Control"] == "no-store"


def test_files_are_served_by_their_version_and_name_alone(outside: FlaskClient) -> None:
    """Another version's address has nothing, so that no browser keeps the wrong file under it."""
    [address] = Page(outside.get("/v1/users/problems/").text).all("link", "href")[1:]
    base, version, name = address.rsplit("/", 2)
    assert outside.get(f"{base}/{version}/{name}").status_code == 200
    for wrong in (f"{base}/0123456789abcdef/{name}", f"{base}/{version}/explorer.py"):
        with pytest.raises(NotFound):
            outside.get(wrong)


def test_all_errors_are_listed_by_status(outside: FlaskClient, contract: Contract) -> None:
    """Each with a link to its page, the lowest status first."""
    page = Page(outside.get("/v1/users/problems/").text)
    links = [link for link in page.all("a", "href") if "/problems/" in link]
    assert sorted(links) == sorted(f"/v1/users/problems/{code}" for code in contract.problems)
    listed = [contract.problems[link.rsplit("/", 1)[1]].status for link in links]
    assert listed == sorted(listed)
    assert "402 Payment Required" in page.words
    for kind in contract.problems.values():
        assert kind.title in page.words


def test_each_error_has_a_page_that_tells_what_to_do(
    outside: FlaskClient, contract: Contract
) -> None:
    """It is made from the contract, so that it cannot drift from it."""
    for code, kind in contract.problems.items():
        page = Page(outside.get(f"/v1/users/problems/{code}").text)
        for told in (code, str(kind.status), kind.title, kind.meaning, kind.remedy):
            assert told.replace("`", "") in page.words
        assert json.dumps(kind.example, indent=2, ensure_ascii=False) in page.text


def test_pages_show_what_the_contract_says_and_run_none_of_it() -> None:
    """Whatever its text holds is text; between backticks it is code, and addresses are links."""
    odd = client(Contract(ODD))
    [address] = [
        link for link in Page(odd.get("/odd/problems/").text).all("a", "href") if "%3C" in link
    ]
    answer = odd.get(address)
    assert "<title>&lt;script&gt;alert(1)&lt;/script&gt;: Coord Users API</title>" in answer.text
    assert "<code>&lt;b&gt;&amp;</code>" in answer.text
    assert "&#34;code&#34;: &#34;&lt;/code&gt;&lt;b&gt;&#34;" in answer.text
    assert "The header <code>&lt;X-Odd&gt;</code> is &lt;missing&gt;." in answer.text
    page = Page(answer.text)
    assert "https://example.com/a?b=1&c=2" in page.all("a", "href")
    assert "See https://example.com/a?b=1&c=2. Then try again." in page.words
    assert not page.all("script", "src")
    assert "<script" not in answer.text


def test_unknown_error_has_no_page(outside: FlaskClient) -> None:
    """Stripe's codes that the contract does not know go by a generic one's page."""
    with pytest.raises(NotFound):
        outside.get("/v1/users/problems/no_such_code")
