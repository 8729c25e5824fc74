"""Asks Stripe all questions, and prints the answers: `cd tests && python -m live`.

Ten minutes, once, with a key of a sandbox. Results go to stdout as JSON; on stderr is what differs
from what this service believes, which is how the sandbox's stand-in answers.

STRIPE_LIVE_TEST_KEY
    the secret key of a sandbox of Coord's account; a live key is refused.
STRIPE_LIVE_RESTRICTED_KEY
    optional: a restricted key, with the rights that shall be tried.
STRIPE_LIVE_PLATFORM_KEY, STRIPE_LIVE_ACCOUNT
    optional: the key of a test platform, and the id of the account above, connected to it.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from live.api import STRIPE, Api, LiveKey
from live.questions import QUESTIONS, burst, rights
from live.questions_on_cards import Finding, clone

EXPECTED = Path(__file__).with_name("expected.json")


def findings(environ: dict[str, str]) -> Iterator[tuple[str, Finding]]:
    """Yield the name of each question and what was found.

    Raises:
        LiveKey: one of the keys is not a test key.
    """
    base = environ.get("STRIPE_API_BASE", STRIPE)
    with Api(environ["STRIPE_LIVE_TEST_KEY"], base) as api:
        for question in QUESTIONS:
            yield question.__name__, _asked(lambda: question(api))  # noqa: B023 - called at once
        if restricted := environ.get("STRIPE_LIVE_RESTRICTED_KEY"):
            with Api(restricted, base) as limited:
                yield "rights", _asked(lambda: rights(limited))
        if platform := environ.get("STRIPE_LIVE_PLATFORM_KEY"):
            account = environ["STRIPE_LIVE_ACCOUNT"]
            with Api(platform, base) as theirs:
                yield "clone", _asked(lambda: clone(api, theirs, account))
        # Last, as it uses up the limits.
        yield "burst", _asked(lambda: burst(api))


def _asked(question: Callable[[], Finding]) -> Finding:
    try:
        return question()
    except Exception as error:
        # The others are asked all the same.
        return {"failed": repr(error)}


def differences(name: str, finding: Finding) -> list[str]:
    """Return what of a finding is not as this service believes."""
    expected: dict[str, Any] = json.loads(EXPECTED.read_text("utf-8")).get(name, finding)
    parts = [*expected, *(part for part in finding if part not in expected)]
    return [
        f"{name}, {part}: {finding.get(part)} instead of {expected.get(part)}"
        for part in parts
        if finding.get(part) != expected.get(part)
    ]


def main(environ: dict[str, str]) -> int:
    """Send the questions, print the answers, and compare them with `expected.json`."""
    if not environ.get("STRIPE_LIVE_TEST_KEY"):
        print(__doc__, file=sys.stderr)
        return 2
    found: dict[str, Finding] = {}
    try:
        for name, finding in findings(environ):
            found[name] = finding
            for difference in differences(name, finding):
                print(difference, file=sys.stderr)
    except LiveKey as refused:
        print(refused, file=sys.stderr)
        return 2
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(dict(os.environ)))
