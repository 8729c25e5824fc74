"""Events: one line each, for machines or for people, without secrets."""

import contextlib
import json
import logging
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
import stripe
import structlog

from app.telemetry import logs

SECRETS = [
    "tok_1Abc23",
    "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
    "rk_test_51Abc",
    "whsec_abcd",
    "coord_ak_" + "A-_b" * 10,
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1c2VyIn0.c2lnbmF0dXJl",
]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave logging as it was."""
    root = logging.getLogger()
    handlers, level, settings = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:], root.level = handlers, level
    structlog.configure(**settings)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    result = capsys.readouterr()
    assert result.out == ""
    return result.err.splitlines()


def test_event_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    structlog.get_logger().info("served", status=200, text="two\nlines")
    logging.getLogger("library").warning("trouble with %s", "it")
    own, other = map(json.loads, lines(capsys))
    assert (own["event"], own["level"], own["status"]) == ("served", "info", 200)
    assert own["timestamp"].endswith("Z")
    assert (other["event"], other["level"]) == ("trouble with it", "warning")


def test_event_is_readable_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("console")
    structlog.get_logger().info("served", status=200)
    (line,) = lines(capsys)
    assert "served" in line
    assert "status=200" in line


@pytest.mark.parametrize("how", ["json", "console"])
@pytest.mark.parametrize("secret", SECRETS)
def test_secret_that_gets_this_far_gets_no_further(
    capsys: pytest.CaptureFixture[str], how: str, secret: str
) -> None:
    """In words, in lists, in objects, in errors, and from libraries."""
    logs.configure(how)
    log = structlog.get_logger()
    log.info(f"saw {secret}", one=secret, more=[secret, (secret,)], deep={"a": {"b": secret}})
    logging.getLogger("library").error("saw %s", secret)
    try:
        raise ValueError(secret)
    except ValueError as error:
        log.error("failed", exc_info=error)
        log.error("failed", exc_info=True)
        logging.getLogger("library").exception("failed")
    result = lines(capsys)
    assert len(result) >= 5
    assert secret not in "\n".join(result)
    assert "[secret]" in result[0]


def test_error_tells_its_name_and_our_own_frames(capsys: pytest.CaptureFixture[str]) -> None:
    """Those of frameworks are left out: they tell nothing of us."""
    logs.configure("json")
    try:
        logs.own_frames(0)  # type: ignore[arg-type]  # fails inside our own code
    except AttributeError as error:
        structlog.get_logger().error("failed", exc_info=error)
    event = json.loads(lines(capsys)[0])
    assert event["error"].startswith("AttributeError: ")
    assert [frame.split()[1] for frame in event["trace"]] == ["own_frames"]


def test_stripes_words_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """They may quote what a caller sent, as those of other libraries do not."""
    logs.configure("json")
    quoting = stripe.InvalidRequestError("Request req_1: No such PaymentMethod: 'pm_1'", "source")
    for error in (quoting, ValueError("odd")):
        structlog.get_logger().error("failed", exc_info=error)
    errors = [json.loads(line)["error"] for line in lines(capsys)]
    assert errors == ["InvalidRequestError", "ValueError: odd"]


WRITER = """
import structlog
from app.telemetry import logs

logs.configure("json")
log = structlog.get_logger()
for number in range(5000):
    log.info("request", number=number, text="x" * 200)
"""


def test_lines_of_several_processes_are_never_joined() -> None:
    """Workers share one stderr, here a pipe, as with `docker logs` and systemd."""
    reader, writer = os.pipe()
    with contextlib.ExitStack() as processes, open(reader, encoding="utf-8") as pipe:
        for _ in range(3):
            process = subprocess.Popen([sys.executable, "-c", WRITER], stderr=writer)
            processes.enter_context(process)
        os.close(writer)
        written = [json.loads(line) for line in pipe]
    assert Counter(event["number"] for event in written) == Counter(dict.fromkeys(range(5000), 3))


def test_no_error_is_no_matter(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    structlog.get_logger().error("failed", exc_info=None)
    assert "error" not in json.loads(lines(capsys)[0])
