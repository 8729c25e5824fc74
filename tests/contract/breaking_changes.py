"""What of a new contract breaks clients of an old one, and whom: `breaks(old, new)`.

Both are Swagger 2.0 documents as they are served. A client was written by the old one: it sends
what that allows, and expects nothing that it does not name.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from contract.narrowing import Change, Schema, flat, narrowed

ALL = "all clients"
GENERATED = "clients whose code was generated from the document"


class Break(NamedTuple):
    """One thing that breaks."""

    where: str
    what: str
    whom: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}. It breaks {self.whom}."


def is_major(old: Schema, new: Schema) -> bool:
    """Return whether the major version was raised, which is what allows to break clients."""
    return _major(new) > _major(old)


def breaks(old: Schema, new: Schema) -> Iterator[Break]:
    """Yield all that breaks."""
    if old.get("basePath", "") != new.get("basePath", ""):
        what = f"it was {old.get('basePath', '')} and is {new.get('basePath', '')}"
        yield Break("basePath", what, ALL)
    for name in old.get("definitions", {}):
        if name not in new.get("definitions", {}):
            yield Break(f"the model {name}", "it is gone", GENERATED)
    yield from _security_schemes(old, new)
    for code in old.get("x-problems", {}):
        if code not in new.get("x-problems", {}):
            yield Break(f"the code {code}", "it is gone", f"clients that decide by {code}")
    now = dict(_operations(new))
    for name, operation in _operations(old):
        if name in now:
            yield from _Operation(name, old, new, operation, now[name]).breaks()
        else:
            yield Break(name, "it is gone", "all clients that call it")


def _security_schemes(old: Schema, new: Schema) -> Iterator[Break]:
    for name, scheme in old.get("securityDefinitions", {}).items():
        now = new.get("securityDefinitions", {}).get(name)
        for member in ("type", "in", "name"):
            if now and now.get(member) != scheme.get(member):
                what = f"its `{member}` was {scheme.get(member)} and is {now.get(member)}"
                yield Break(f"the security scheme {name}", what, ALL)


class _Operation:
    """One operation, before and after."""

    def __init__(self, name: str, old: Schema, new: Schema, before: Schema, after: Schema) -> None:
        self._name = name
        self._old, self._new = old, new
        self._before, self._after = before, after

    def breaks(self) -> Iterator[Break]:
        before, after = self._before, self._after
        if before.get("operationId") != after.get("operationId"):
            what = f"its operationId was {before.get('operationId')}, is {after.get('operationId')}"
            yield Break(self._name, what, GENERATED)
        for tag in before.get("tags", []):
            if tag not in after.get("tags", []):
                yield Break(self._name, f"it has the tag {tag} no more", GENERATED)
        yield from self._media_types("consumes", "clients that send that")
        yield from self._media_types("produces", "clients that accept only that")
        yield from self._security()
        yield from self._parameters()
        yield from self._answers()

    def _media_types(self, which: str, whom: str) -> Iterator[Break]:
        was = self._before.get(which, self._old.get(which, []))
        now = self._after.get(which, self._new.get(which, []))
        for media_type in was:
            if media_type not in now:
                yield Break(self._name, f"`{which}` has {media_type} no more", whom)

    def _security(self) -> Iterator[Break]:
        """Each combination of credentials that was enough must be so still."""
        was = self._before.get("security", self._old.get("security")) or [{}]
        now = self._after.get("security", self._new.get("security")) or [{}]
        for alternative in was:
            if not any(set(other) <= set(alternative) for other in now):
                names = " and ".join(sorted(alternative)) or "no credential"
                yield Break(self._name, f"{names} is not enough any more", f"clients with {names}")

    def _parameters(self) -> Iterator[Break]:
        was = {_place(one): one for one in self._before.get("parameters", [])}
        now = {_place(one): one for one in self._after.get("parameters", [])}
        for place, parameter in was.items():
            where = f"{self._name}, {place}"
            if place not in now:
                yield Break(where, "it is not taken any more", "clients that send it")
                continue
            if parameter["name"] != now[place]["name"]:
                what = f"its name was {parameter['name']} and is {now[place]['name']}"
                yield Break(where, what, GENERATED)
            if now[place].get("required") and not parameter.get("required"):
                yield Break(where, "it is newly required", "clients that do without it")
            wide = _value(self._old, parameter)
            for change in narrowed(wide, _value(self._new, now[place])):
                yield _refused(where, change)
        for place, parameter in now.items():
            if place not in was and parameter.get("required"):
                where = f"{self._name}, {place}"
                yield Break(where, "it is new, and required", "clients that do without it")

    def _answers(self) -> Iterator[Break]:
        was, now = self._before["responses"], self._after["responses"]
        for status, answer in was.items():
            where = f"{self._name}, {status}"
            if status not in now:
                yield Break(where, "it is not answered any more", "clients that wait for it")
                continue
            yield from self._answer(where, answer, now[status])
        for status in now:
            if status not in was and status.startswith("2"):
                what = "it is a success that was not there"
                yield Break(f"{self._name}, {status}", what, "clients that know only the others")

    def _answer(self, where: str, was: Schema, now: Schema) -> Iterator[Break]:
        for code in was.get("x-problems", {}):
            if code not in now.get("x-problems", {}):
                what = f"the code {code} is gone"
                yield Break(where, what, f"clients that decide by {code}")
        for header, result in was.get("headers", {}).items():
            if header not in now.get("headers", {}):
                what = f"the header {header} is gone"
                yield Break(where, what, f"clients that read {header}")
                continue
            changes = narrowed(flat(self._new, now["headers"][header]), flat(self._old, result))
            for change in changes:
                yield _unexpected(f"{where}, header {header}", change)
        if "schema" in was and "schema" not in now:
            yield Break(where, "it has no body any more", "clients that read it")
        if "schema" in was and "schema" in now:
            old = _as_answer(flat(self._old, was["schema"]))
            new = _as_answer(_without_echoes(flat(self._new, now["schema"]), old))
            for change in narrowed(new, old):
                yield _unexpected(where, change)
            for name in _gone(old, new):
                yield Break(f"{where}, {name}", "it is gone", "clients that read it")


def _refused(where: str, change: Change) -> Break:
    where = f"{where}, {change.where}" if change.where else where
    if change.keyword == "required":
        return Break(where, "it is newly required", "clients that do without it")
    if change.keyword == "properties":
        return Break(where, "it is not taken any more", "clients that send it")
    if change.keyword == "readOnly":
        return Break(where, "it is newly read-only", "clients that send it")
    if change.keyword == "additionalProperties":
        return Break(where, "further properties are refused", "clients that send some")
    what = f"`{change.keyword}` was {_told(change.wide)} and is {_told(change.narrow)}"
    return Break(where, what, "clients that send what was allowed until now")


def _unexpected(where: str, change: Change) -> Break:
    where = f"{where}, {change.where}" if change.where else where
    if change.keyword == "required":
        return Break(where, "it may be missing now", "clients that rely on it")
    if change.keyword == "properties":
        return Break(where, "it is new where no others were", "clients that check answers")
    if change.keyword == "additionalProperties":
        return Break(where, "there may be further properties now", "clients that check answers")
    what = f"`{change.keyword}` was {_told(change.narrow)} and is {_told(change.wide)}"
    return Break(where, what, "clients that rely on what was promised until now")


def _told(value: Any) -> str:
    return "not there" if value is None else str(value)


def _value(document: Schema, parameter: Schema) -> Schema:
    """Return the schema of a parameter's value; outside the body, the parameter itself is one."""
    if "schema" in parameter:
        return flat(document, parameter["schema"])
    about = ("in", "name", "required", "collectionFormat", "allowEmptyValue")
    return flat(document, {name: it for name, it in parameter.items() if name not in about})


def _as_answer(schema: Schema) -> Schema:
    """Drop what concerns requests alone."""
    made = {name: value for name, value in schema.items() if name not in ("readOnly", "x-echoed")}
    if "properties" in made:
        made["properties"] = {name: _as_answer(one) for name, one in made["properties"].items()}
    if "items" in made:
        made["items"] = _as_answer(made["items"])
    return made


def _without_echoes(new: Schema, old: Schema) -> Schema:
    """Take what a response repeats of its request as it was: each client sends the old forms."""
    properties = {
        name: old["properties"][name] if "x-echoed" in one and name in old["properties"] else one
        for name, one in new.get("properties", {}).items()
    }
    return {**new, "properties": properties} if properties else new


def _gone(old: Schema, new: Schema, where: str = "") -> Iterator[str]:
    """Yield the properties that an answer had, and has no more."""
    now = new.get("properties", {})
    for name, one in old.get("properties", {}).items():
        if name not in now:
            yield f"{where}{name}"
        else:
            yield from _gone(one, now[name], f"{where}{name}.")
    if "items" in old and "items" in new:
        yield from _gone(old["items"], new["items"], f"{where}[].")


def _place(parameter: Schema) -> str:
    is_body = parameter["in"] == "body"
    return "the body" if is_body else f"{parameter['in']} parameter {parameter['name']}"


def _operations(document: Schema) -> Iterator[tuple[str, Schema]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method == "parameters":
                raise NotImplementedError(f"shared parameters of {path}")
            yield f"{method.upper()} {path}", operation


def _major(document: Schema) -> int:
    return int(document["info"]["version"].partition(".")[0])
