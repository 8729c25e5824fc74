"""Reads the file of `coord-users import`: each line is right, or refused with a reason."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from app.customers.user import user_hash
from app.strict_json import InvalidJson, parse

# As in the contract: a JWT's `sub`.
LONGEST_SUBJECT = 255
# The id's form is not documented; Stripe's own are shorter, and the column takes no more.
CUSTOMER = re.compile("cus_[A-Za-z0-9_]{1,251}")
# PostgreSQL stores no NUL, and half of a surrogate pair is not UTF-8.
UNSTORABLE = re.compile("[\\0\ud800-\udfff]")
REQUIRED = frozenset({"issuer", "subject", "stripe_customer_id"})
MEMBERS = REQUIRED | {"partner"}


class LineRefused(Exception):
    """A line cannot be imported. The words complete "line 5"."""


@dataclass(frozen=True)
class Registration:
    """An issuer of a partner."""

    id: int
    partner: str
    issuer: str
    is_test: bool


@dataclass(frozen=True)
class Line:
    """What a line says."""

    number: int
    registration: Registration
    subject: str
    user_hash: bytes
    customer_id: str


@dataclass(frozen=True)
class Imported:
    """What became of a line.

    Attributes:
        outcome: `imported`, `known`, or why it was left.
        is_left: whether the customer is not the user's now.
    """

    number: int
    outcome: str
    is_left: bool


class ImportFile:
    """Reads the lines of a file, and finds those that contradict an earlier one."""

    def __init__(self, registrations: Iterable[Registration], installation: str) -> None:
        self._registrations = list(registrations)
        self._installation = installation
        self._users: dict[bytes, int] = {}
        self._customers: dict[str, int] = {}

    def read(self, lines: Iterable[bytes]) -> Iterator[Line | Imported]:
        """Yield what each line says, or why it says nothing that can be imported."""
        for number, text in enumerate(lines, 1):
            if not text.strip():
                continue
            try:
                yield self._read(number, text)
            except LineRefused as refused:
                yield Imported(number, str(refused), True)

    def _read(self, number: int, text: bytes) -> Line | Imported:
        members = _members(text)
        customer_id, subject = members["stripe_customer_id"], members["subject"]
        if not CUSTOMER.fullmatch(customer_id):
            raise LineRefused("has no valid `stripe_customer_id`")
        if not 1 <= len(subject) <= LONGEST_SUBJECT:
            raise LineRefused(f"has a `subject` that is not 1 to {LONGEST_SUBJECT} characters long")
        registration = self._registration(members["issuer"], members.get("partner"))
        user = user_hash(self._installation, registration.partner, registration.issuer, subject)
        of_user = self._users.setdefault(user, number)
        of_customer = self._customers.setdefault(customer_id, number)
        if of_user == of_customer == number:
            return Line(number, registration, subject, user, customer_id)
        if of_user == of_customer:
            return Imported(number, f"repeats line {of_user}", False)
        earlier = of_user if of_user != number else of_customer
        raise LineRefused(f"contradicts line {earlier}")

    def _registration(self, issuer: str, partner: str | None) -> Registration:
        found = [
            one
            for one in self._registrations
            if one.issuer == issuer and partner in (None, one.partner)
        ]
        if not found:
            raise LineRefused("names no registered issuer: see `coord-users partner list`")
        if len(found) > 1:
            raise LineRefused("needs a `partner`, as several have registered the issuer")
        if found[0].is_test:
            raise LineRefused("names a test issuer, whose users have no customers")
        return found[0]


def _members(text: bytes) -> dict[str, str]:
    try:
        value = parse(text)
    except InvalidJson as invalid:
        raise LineRefused(str(invalid)) from None
    if not isinstance(value, dict):
        raise LineRefused("is not a JSON object")
    if unknown := value.keys() - MEMBERS:
        raise LineRefused(f"has an unknown member: {min(unknown)!a}")
    if missing := REQUIRED - value.keys():
        raise LineRefused(f"has no `{min(missing)}`")
    strings = {name: one for name, one in value.items() if isinstance(one, str)}
    if strings.keys() != value.keys():
        raise LineRefused("has a member that is not a string")
    if any(UNSTORABLE.search(one) for one in strings.values()):
        raise LineRefused("has a character that cannot be stored")
    return strings
