"""Counts what the tests of this process tried, and what the auditor found at the end of each."""

from collections import Counter

# Made of a token by a call whose answer never came: Stripe lists no PaymentMethod that is attached
# to no customer, so the service cannot find it again, and asks for another card.
UNFINDABLE = "PaymentMethods of lost answers"
# What was tried, by name, and what was found, by kind of finding.
tried: Counter[str] = Counter()
found: Counter[str] = Counter()
# Of the latest audit in the test that runs: the findings by kind, which the test may still clear.
_latest: list[dict[str, list[str]]] = []


def count(name: str, number: int = 1) -> None:
    """Count what is tried."""
    tried[name] += number


def note(findings: dict[str, list[str]]) -> None:
    """Remember an audit; only the latest one of a test counts."""
    _latest[:] = [findings]


def forget() -> None:
    """Leave out the latest audit: the test put in what it found."""
    _latest.clear()


def close() -> None:
    """Count the latest audit of a test that has ended."""
    for findings in _latest:
        tried["audits"] += 1
        found.update({kind: len(each) for kind, each in findings.items()})
    _latest.clear()


def add(other: dict[str, dict[str, int]]) -> None:
    """Add the counts of another process."""
    tried.update(other.get("tried", {}))
    found.update(other.get("found", {}))


def counts() -> dict[str, dict[str, int]]:
    """Return the counts for another process."""
    return {"tried": dict(tried), "found": dict(found)}


def lines() -> list[str]:
    """Return the counts for people; kinds of which none were found show 0."""
    return [
        *(f"{number:9,}  {name}" for name, number in sorted(tried.items())),
        "found: " + ", ".join(f"{kind} {number}" for kind, number in sorted(found.items())),
    ]
