"""The explorer's page and the pages on errors."""

import json
import re
from collections.abc import Iterator
from typing import Any

import flask
import pytest
from flask.testing import FlaskClient
from support.pages import JWT, Page, client

from app.contract.document import Contract
from app.contract.explorer import POLICY, Prefilled
from app.errors import MethodNotAllowed, NotFound

# A contract with what the shipped one does not have.
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


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract.shipped("swagger.yaml")


@pytest.fixture
def outside(contract: Contract) -> FlaskClient:
    return client(contract)


@pytest.fixture
def sandbox(contract: Contract, prefilled: Prefilled) -> FlaskClient:
    return client(contract, prefilled)


def test_page_outside_the_sandbox_has_no_credentials(outside: FlaskClient) -> None:
    page = Page(outside.get("/v1/users/ui/").text)
    assert page.all("div", "data-prefilled") == ["{}"]
    assert "Press Authorize" in page.words


def test_operation_without_prefilled_parameters_is_served_as_it_is(prefilled: Prefilled) -> None:
    """A path's own parameters, an operation's others, and operations with none."""
    served = client(Contract(ODD), prefilled).get("/odd/swagger.json").json
    assert served["paths"] == ODD["paths"]


def test_page_in_the_sandbox_has_the_jwt(sandbox: FlaskClient) -> None:
    """It is data for the script: the policy allows no script in the page."""
    page = Page(sandbox.get("/v1/users/ui/").text)
    [prefilled] = page.all("div", "data-prefilled")
    assert json.loads(prefilled) == {"user_jwt": f"Bearer {JWT}"}
    assert "This is the sandbox" in page.words


def test_prefilled_credentials_are_not_in_their_repr(prefilled: Prefilled) -> None:
    """A log may have it."""
    assert "demo_key" not in repr(prefilled)
    assert JWT not in repr(prefilled)


@pytest.mark.parametrize("prefix", ["", "/pay"])
@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/", "/v1/users/ui/"),
        ("/v1/users/ui", "/v1/users/ui/"),
        ("/v1/users/problems", "/v1/users/problems/"),
    ],
)
def test_short_addresses_redirect_to_the_pages(
    outside: FlaskClient, path: str, where: str, prefix: str
) -> None:
    """The address is relative to the host, so neither a proxy nor `Host` changes the host."""
    response = outside.get(path, base_url=f"https://api.test{prefix}")
    assert response.status_code == 302
    assert response.headers["Location"] == prefix + where


def test_pages_below_a_path_link_below_that_path(outside: FlaskClient) -> None:
    """A proxy serves the API below a prefix: a link without it would leave the API."""
    for path in ("ui/", "problems/", "problems/card_declined"):
        text = outside.get(f"/v1/users/{path}", base_url="https://api.test/pay").text
        page = Page(text)
        links = [*page.all("a", "href"), *page.all("link", "href"), *page.all("script", "src")]
        inside = [link for link in links if not link.startswith("https://")]
        assert inside
        for link in [*inside, *page.all("div", "data-url"), *page.all("div", "data-problems")]:
            assert link.startswith("/pay/v1/users/")
            found = outside.get(link.removeprefix("/pay"), base_url="https://api.test/pay")
            assert found.status_code == 200


def test_pages_name_the_methods_that_they_allow(outside: FlaskClient) -> None:
    """RFC 9110, section 15.5.6: a 405 has them in `Allow`."""
    with pytest.raises(MethodNotAllowed) as caught:
        outside.post("/v1/users/ui/")
    assert caught.value.allow == "GET, HEAD, OPTIONS"


def pages(client: FlaskClient) -> Iterator[tuple[flask.Response, Page]]:
    for path in ("ui/", "problems/", "problems/card_declined"):
        response = client.get(f"/v1/users/{path}")
        yield response, Page(response.text)


def test_each_page_has_a_title_a_language_and_a_width(outside: FlaskClient) -> None:
    """The width is that of narrow screens, too."""
    for response, page in pages(outside):
        assert response.status_code == 200
        assert response.content_type == "text/html; charset=utf-8"
        assert page.all("html", "lang") == ["en"]
        assert "Coord Users API" in page.words
        assert "width=device-width, initial-scale=1" in page.all("meta", "content")


def test_explorer_links_to_the_document_and_the_errors(outside: FlaskClient) -> None:
    """The document in each of its forms."""
    page = Page(outside.get("/v1/users/ui/").text)
    links = page.all("a", "href")
    assert [link.removeprefix("/v1/users/") for link in links] == [
        "swagger.json",
        "swagger.yaml",
        "openapi.json",
        "problems/",
    ]
    for link in links:
        assert outside.get(link).status_code == 200


def test_pages_run_only_the_files_of_the_service(outside: FlaskClient) -> None:
    """A policy forbids all else, and no page has a script or a style of its own."""
    for response, page in pages(outside):
        assert response.headers["Content-Security-Policy"] == POLICY
        assert response.text.count("<script") == len(page.all("script", "src"))
        assert "<style" not in response.text
        for _, attributes in page.tags:
            assert not [name for name in attributes if name == "style" or name.startswith("on")]
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY


def test_pages_load_files_of_the_service_and_browsers_cache_them(outside: FlaskClient) -> None:
    """Nothing comes from elsewhere, and each file is fetched once."""
    kinds = set()
    for _, page in pages(outside):
        for address in page.all("script", "src") + page.all("link", "href"):
            assert address.startswith("/v1/users/ui/")
            response = outside.get(address)
            assert response.status_code == 200
            assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            kinds.add(response.content_type)
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


def test_pages_and_documents_are_not_cached(sandbox: FlaskClient) -> None:
    """They may contain credentials and a fresh token."""
    documents = ("swagger.json", "swagger.yaml", "openapi.json")
    for path in ("ui/", "problems/", "problems/internal", *documents):
        assert sandbox.get(f"/v1/users/{path}").headers["Cache-Control"] == "no-store"


def test_files_are_served_only_at_the_address_of_their_version(outside: FlaskClient) -> None:
    """At another version's address, a browser would cache the wrong file."""
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


def test_each_error_has_a_page_with_its_remedy(outside: FlaskClient, contract: Contract) -> None:
    """The page has all that the contract says of it."""
    for code, kind in contract.problems.items():
        page = Page(outside.get(f"/v1/users/problems/{code}").text)
        for words in (code, str(kind.status), kind.title, kind.meaning, kind.remedy):
            assert words.replace("`", "") in page.words
        assert json.dumps(kind.example, indent=2, ensure_ascii=False) in page.text


def test_pages_escape_the_texts_of_the_contract() -> None:
    """Between backticks a text is code, and addresses are links."""
    odd = client(Contract(ODD))
    [address] = [
        link for link in Page(odd.get("/odd/problems/").text).all("a", "href") if "%3C" in link
    ]
    response = odd.get(address)
    assert "<title>&lt;script&gt;alert(1)&lt;/script&gt;: Coord Users API</title>" in response.text
    assert "<code>&lt;b&gt;&amp;</code>" in response.text
    assert "&#34;code&#34;: &#34;&lt;/code&gt;&lt;b&gt;&#34;" in response.text
    assert "The header <code>&lt;X-Odd&gt;</code> is &lt;missing&gt;." in response.text
    page = Page(response.text)
    assert "https://example.com/a?b=1&c=2" in page.all("a", "href")
    assert "See https://example.com/a?b=1&c=2. Then try again." in page.words
    assert not page.all("script", "src")
    assert "<script" not in response.text


def test_unknown_error_has_no_page(outside: FlaskClient) -> None:
    """A code of Stripe's that the contract does not list has a generic one's page."""
    with pytest.raises(NotFound):
        outside.get("/v1/users/problems/no_such_code")
