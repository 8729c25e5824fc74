"""How much of the contract was tried, by the exchanges that tests had with servers.

`tox -e contract` runs `python -m contract.contract_coverage FOLDER` at its end. It reads each
exchanges.jsonl in the folder, writes coverage.txt there, and exits with 1 if anything was not
tried.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from contract.answers import faults, operation_at, read_header, shipped
from contract.exchanges import Exchange, read
from contract.schemas import LIMITS, Schema, broken, kept, reached, rules, whole

# A request with one of these has passed the checks of credentials, parameters and body.
TAKEN = frozenset({200, 402, 403, 409, 422, 429})
REFUSED = 400
UNSUPPORTED = 415
# What is to be done with each rule on a body.
KEPT = "kept in a request, to the limit where it is one, and taken"
BROKEN = "broken in a request, by one where it is a limit, and refused"


class Item(NamedTuple):
    """Something that the contract says, and what of it is to be tried."""

    what: str
    how: str


class Operation(NamedTuple):
    """One operation, made ready to be looked up."""

    name: str
    documented: Schema
    # By place; of the parameters outside the body.
    parameters: dict[str, Schema]
    body: Schema | None
    answers: dict[int, Schema]


class Contract:
    """What there is to try, and what of it an exchange tries."""

    def __init__(self, document: Schema) -> None:
        self.document = document
        self._operations = {
            name: self._operation(name, documented) for name, documented in _all(document)
        }

    def items(self) -> Iterator[Item]:
        """Yield all that is to be tried."""
        for operation in self._operations.values():
            yield from self._items(operation)
        for code, documented in self.document.get("x-problems", {}).items():
            yield Item(f"{documented['status']} {code}", "answered")

    def tried_by(self, exchange: Exchange) -> Iterator[Item]:
        """Yield what one exchange tries; one whose answer breaks the contract tries nothing."""
        found = list(
            faults(
                self.document,
                exchange.method,
                exchange.path,
                exchange.status,
                exchange.headers,
                exchange.body,
            )
        )
        if found:
            return
        answer = exchange.json()
        at = operation_at(self.document, exchange.path, exchange.method)
        if at is None:
            if isinstance(answer, dict):
                yield Item(f"{exchange.status} {answer.get('code')}", "answered")
            return
        operation = self._operations[at[0]]
        yield from _tried_by_request(operation, exchange)
        yield from _tried_by_answer(operation, exchange, answer)

    def _operation(self, name: str, documented: Schema) -> Operation:
        parameters = documented.get("parameters", [])
        bodies = [one for one in parameters if one["in"] == "body"]
        media = {"produces": self.document.get("produces"), "consumes": self.document["consumes"]}
        return Operation(
            name,
            {**media, "security": self.document.get("security", []), **documented},
            {f"{one['in']} {one['name']}": one for one in parameters if one["in"] != "body"},
            whole(self.document, bodies[0]["schema"], f"{name}/body") if bodies else None,
            {
                int(status): whole(self.document, answer["schema"], f"{name}/{status}")
                for status, answer in documented["responses"].items()
            },
        )

    def _items(self, operation: Operation) -> Iterator[Item]:
        name, documented = operation.name, operation.documented
        for place, parameter in operation.parameters.items():
            yield Item(f"{name} {place}", "given")
            if parameter.get("required"):
                yield Item(f"{name} {place}", "left out and refused")
        for scheme in {scheme for one in documented["security"] for scheme in one}:
            yield Item(f"{name} security {scheme}", "given and taken")
            yield Item(f"{name} security {scheme}", "left out and refused")
        if operation.body:
            for media_type in documented["consumes"]:
                yield Item(f"{name} consumes {media_type}", "sent and taken")
            yield Item(f"{name} consumes", "another type refused")
        for media_type in documented["produces"]:
            yield Item(f"{name} produces {media_type}", "answered")
        yield from _items_of_body(operation)
        yield from _items_of_answers(operation)


def _items_of_body(operation: Operation) -> Iterator[Item]:
    if operation.body:
        yield Item(f"{operation.name} body", "left out and refused")
        for rule in set(rules(operation.body, sent=True)):
            yield Item(rule, BROKEN)
            if not rule.endswith("/readOnly"):
                yield Item(rule, KEPT)


def _items_of_answers(operation: Operation) -> Iterator[Item]:
    for status, answer in operation.documented["responses"].items():
        yield Item(f"{operation.name} {status}", "answered")
        for header in answer.get("headers", {}):
            yield Item(f"{operation.name} {status} header {header}", "answered")
        for code, problem in answer.get("x-problems", {}).items():
            if not problem.get("retired"):
                yield Item(f"{operation.name} {status} {code}", "answered")
    for schema in operation.answers.values():
        for rule in rules(schema, sent=False):
            yield Item(rule, "kept in an answer")


def _tried_by_request(operation: Operation, exchange: Exchange) -> Iterator[Item]:
    name, status = operation.name, exchange.status
    given = {f"query {one}" for one, _ in exchange.query}
    given |= {f"header {one}" for one in exchange.request_headers}
    for place in operation.parameters:
        if place in given and status in TAKEN:
            yield Item(f"{name} {place}", "given")
        if place not in given and 400 <= status < 500:
            yield Item(f"{name} {place}", "left out and refused")
    places = {
        scheme: f"{documented['in']} {documented['name']}".lower()
        for scheme, documented in operation.documented["x-schemes"].items()
    }
    for scheme, place in places.items():
        others = [other in given for one, other in places.items() if one != scheme]
        if place in given and status in TAKEN:
            yield Item(f"{name} security {scheme}", "given and taken")
        if place not in given and all(others) and status == 401:
            yield Item(f"{name} security {scheme}", "left out and refused")
    if operation.body:
        media_type = exchange.request_headers.get("content-type", "").partition(";")[0].strip()
        if status in TAKEN:
            yield Item(f"{name} consumes {media_type}", "sent and taken")
        if status == UNSUPPORTED and media_type not in operation.documented["consumes"]:
            yield Item(f"{name} consumes", "another type refused")
        yield from _tried_by_body(operation.body, name, exchange)


def _tried_by_body(schema: Schema, name: str, exchange: Exchange) -> Iterator[Item]:
    if not exchange.request_body and exchange.status == REFUSED:
        yield Item(f"{name} body", "left out and refused")
        return
    value = exchange.sent()
    if exchange.status in TAKEN:
        at_limit = set(reached(schema, value))
        for rule in kept(schema, value):
            if rule in at_limit or rule.rpartition("/")[2] not in LIMITS:
                yield Item(rule, KEPT)
    if exchange.status == REFUSED and (rule := broken(schema, value, sent=True)):
        yield Item(rule, BROKEN)


def _tried_by_answer(operation: Operation, exchange: Exchange, answer: Any) -> Iterator[Item]:
    name, status = operation.name, exchange.status
    documented = operation.documented["responses"][str(status)]
    if exchange.method == "HEAD":
        # It has the answer's head, whose form was checked, but shows no client what GET has.
        return
    yield Item(f"{name} {status}", "answered")
    yield Item(f"{name} produces {exchange.headers['content-type']}", "answered")
    for header, schema in documented.get("headers", {}).items():
        if read_header(schema, exchange.headers[header.lower()]) is not None:
            yield Item(f"{name} {status} header {header}", "answered")
    for rule in kept(operation.answers[status], answer):
        yield Item(rule, "kept in an answer")
    if status >= 400:
        # The end of `type` names the kind; a code of Stripe's that is not listed has a common one.
        kind = answer["type"].rpartition("/")[2]
        is_listed = answer["code"] in documented["x-problems"]
        if kind == answer["code"] or not is_listed:
            yield Item(f"{name} {status} {kind}", "answered")


def _all(document: Schema) -> Iterator[tuple[str, Schema]]:
    schemes = document["securityDefinitions"]
    for path, methods in document["paths"].items():
        for method, documented in methods.items():
            used = {one for needed in documented.get("security", []) for one in needed}
            here = {one: schemes[one] for one in schemes if one in used}
            yield f"{method.upper()} {path}", {**documented, "x-schemes": here}


def report(contract: Contract, exchanges: Iterable[Exchange]) -> tuple[str, bool]:
    """Return what was tried and what was not, and whether all was."""
    items = set(contract.items())
    tried: set[Item] = set()
    count = 0
    for exchange in exchanges:
        count += 1
        tried.update(contract.tried_by(exchange))
    left = sorted(items - tried)
    share = 100 * (len(items) - len(left)) / len(items)
    lines = [f"not tried: {item.what}: {item.how}" for item in left]
    lines.append(
        f"The contract says {len(items)} things; {count} exchanges tried "
        f"{len(items) - len(left)} of them, {share:.1f} %."
    )
    return "\n".join(lines), not left


def main(words: list[str]) -> int:
    """Report on a folder; exit with 1 where not all is tried.

    Args:
        words: the folder. With `--url`, for a deployment, whose faults cannot be provoked, what
            was not tried is only listed.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--url")
    arguments, _ = parser.parse_known_args(words)
    exchanges = read(sorted(arguments.folder.rglob("exchanges*.jsonl")))
    text, is_whole = report(Contract(shipped()), exchanges)
    (arguments.folder / "coverage.txt").write_text(text + "\n", "utf-8")
    print(text)
    return 0 if is_whole or arguments.url else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
