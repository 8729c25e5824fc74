"""The sandbox as a real process, and the lines that it prints."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.sandbox_process import COMMAND, Printed, sandbox_of_its_own


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Printed]:
    with sandbox_of_its_own(tmp_path_factory.mktemp("anywhere")) as printed:
        yield printed


def test_printed_line_works_as_it_is_pasted(sandbox: Printed) -> None:
    """It answers 200 with a customer's id, and twice the same."""
    first, second = sandbox.curl(), sandbox.curl()
    answer = json.loads(first.stdout)
    assert answer["coord_targeted_token"] == sandbox.value("Fresh token")
    assert re.fullmatch(r"cus_[A-Za-z0-9_]+", answer["customer_id"])
    assert second.stdout == first.stdout


def test_second_printed_line_reads_the_user(sandbox: Printed) -> None:
    """With the customer that the first one made."""
    saved = json.loads(sandbox.curl().stdout)
    read = json.loads(sandbox.curl("/user/current").stdout)
    assert read["stripe_info"]["stripe_customer_id"] == saved["customer_id"]
    assert (read["external_uid"], read["first_name"]) == ("demo-user", "Ada")


def test_printed_tokens_evoke_the_answers_beside_them(sandbox: Printed) -> None:
    """Each documented answer of Stripe can be seen without a mock; a slow one is not waited for."""
    table = re.findall(r"^(\d{3})(?: (\w+))?  +(.*tok_.*)$", sandbox.text, re.MULTILINE)
    assert len(table) == 11
    for status, code, words in table:
        for token in re.findall(r"tok_\w+", words):
            answer = save(sandbox, token)
            assert (answer.status_code, answer.json().get("code", "")) == (int(status), code), token
            if "sent again, 200" in words:
                assert save(sandbox, token).status_code == 200


def save(sandbox: Printed, token: str, jwt: str | None = None) -> httpx.Response:
    return httpx.post(
        sandbox.value("Explorer").replace("/ui/", "/user/current/stripe_info"),
        params={"access_key": sandbox.value("Access key")},
        headers={"Authorization": f"Bearer {jwt or sandbox.value('User JWT')}"},
        json={"coord_targeted_token": token},
    )


def test_printed_payment_method_is_saved(sandbox: Printed) -> None:
    """It becomes the card of the customer that a token made, as often as it is sent."""
    customer = save(sandbox, "tok_visa").json()["customer_id"]
    payment_method = sandbox.value("Fresh PaymentMethod")
    assert payment_method.startswith("pm_standin_")
    for _ in range(2):
        answer = save(sandbox, payment_method)
        assert (answer.status_code, answer.json().get("customer_id")) == (200, customer)


def test_printed_test_jwt_is_refused(sandbox: Printed) -> None:
    """403 test_user."""
    answer = save(sandbox, sandbox.value("Fresh token"), sandbox.value("Test JWT"))
    assert answer.json()["code"] == "test_user"


def test_printed_explorer_is_served(sandbox: Printed) -> None:
    answer = httpx.get(sandbox.value("Explorer"))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")


def test_rotation_of_the_issuers_key_can_be_watched(sandbox: Printed) -> None:
    """A JWT of the new key works at once, and one of the old key still does."""
    issuer = sandbox.value("Issuer").partition(" ")[0]
    before = httpx.get(issuer).json()
    rotated = httpx.post(issuer.replace("jwks.json", "rotate"))
    after = httpx.get(issuer).json()
    assert [key["kid"] for key in before["keys"]] == ["demo-1"]
    assert [key["kid"] for key in after["keys"]] == ["demo-2", "demo-1"]
    for jwt in (rotated.text.strip(), sandbox.value("User JWT")):
        assert save(sandbox, "tok_visa", jwt).status_code == 200
    for call in (httpx.get, httpx.post):
        assert call(issuer.replace("jwks.json", "else")).status_code == 404


def test_kept_folder_survives_a_restart(tmp_path: Path) -> None:
    """The user has the same customer, also at the stand-in for Stripe."""
    customers = []
    for _ in range(2):
        with sandbox_of_its_own(tmp_path, "--keep", "kept") as printed:
            customers.append(json.loads(printed.curl().stdout)["customer_id"])
    assert customers[0] == customers[1]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ends_cleanly(how: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C and SIGTERM end it with status 0, without a traceback, and leave no file."""
    process = subprocess.Popen(
        [COMMAND, "sandbox", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    Printed(process)
    process.send_signal(how)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_port_that_is_taken(sandbox: Printed) -> None:
    """One clear line, and exit status 1."""
    port = sandbox.value("Explorer").split(":")[2].split("/")[0]
    done = subprocess.run(
        [COMMAND, "sandbox", "--port", port], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == (
        f"Error: Port {port} is taken: choose another with --port"
    )


def test_limits_of_stripe_are_played_on_request(tmp_path: Path) -> None:
    """With `--stripe-limits`, too many calls in a second are refused, and the service says so."""
    with sandbox_of_its_own(tmp_path, "--stripe-limits") as limited:
        url = limited.value("Stand-in")
        until = time.monotonic() + 60.0
        with httpx.Client(auth=("sk_test_sandbox", "")) as http:
            while http.get(f"{url}/v1/customers").status_code != 429:
                assert time.monotonic() < until
