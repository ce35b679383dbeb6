"""An OpenAPI description as a page can draw it: operations with what they take and answer, in plain lists."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Part:
    """One value that an operation takes or answers."""

    name: str
    """With dots where it is inside of others, and `[]` where there are many."""
    kind: str
    required: bool
    description: str


@dataclass(frozen=True)
class Operation:
    """One thing that can be asked."""

    method: str
    path: str
    summary: str
    description: str
    takes: tuple[Part, ...]
    answers: tuple[Part, ...]
    statuses: tuple[tuple[str, str], ...]
    """Other than 200, each with what it means."""
    example: str
    """A command line that asks it."""

    @property
    def anchor(self) -> str:
        """Its place on the page."""
        return f"{self.method}{self.path}".lower().replace("/", "-").replace("{", "").replace("}", "")


_EXAMPLES: Mapping[str, object] = {
    "text": "for i in range(10):",
    "layer": 2,
    "latent": 7,
    "activates_on": 'the token "for"',
    "strength": 5,
    "n": 10,
}


def operations(description: Mapping[str, Any]) -> list[Operation]:
    """Return all operations of an OpenAPI description that names its server, in its order."""
    return [
        _operation(method.upper(), path, operation, description)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]


def _operation(method: str, path: str, operation: Mapping[str, Any], description: Mapping[str, Any]) -> Operation:
    parameters = tuple(
        Part(p["name"], _kind(p["schema"], description), p.get("required", False), p.get("description", ""))
        for p in operation.get("parameters", ())
    )
    body = _schema_of(operation.get("requestBody", {}))
    answer = _schema_of(operation["responses"]["200"])
    others = ((status, told["description"]) for status, told in operation["responses"].items() if status != "200")
    return Operation(
        method,
        path,
        operation["summary"],
        operation.get("description", ""),
        (*parameters, *_parts(body, description)),
        tuple(_parts(answer, description)),
        tuple(sorted(others)),
        _example(method, path, body, description),
    )


def _schema_of(content: Mapping[str, Any]) -> Mapping[str, Any]:
    return content.get("content", {}).get("application/json", {}).get("schema", {})


def _parts(schema: Mapping[str, Any], description: Mapping[str, Any], prefix: str = "") -> Iterator[Part]:
    """Yield the values of an object, those of objects inside of it behind them."""
    schema = _resolved(schema, description)
    required = schema.get("required", ())
    for name, value in schema.get("properties", {}).items():
        inner = _resolved(value, description)
        yield Part(prefix + name, _kind(value, description), name in required, _told(value, inner))
        many = inner.get("type") == "array"
        nested = _resolved(inner["items"], description) if many else inner
        if "properties" in nested:
            yield from _parts(nested, description, f"{prefix}{name}{'[]' if many else ''}.")


def _told(value: Mapping[str, Any], inner: Mapping[str, Any]) -> str:
    words = value.get("description", inner.get("description", ""))
    return words + (f" Unless given: {value['default']}." if value.get("default") is not None else "")


def _resolved(schema: Mapping[str, Any], description: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference, and take the one alternative that is not null."""
    alternatives = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    if alternatives:
        schema = alternatives[0]
    if "$ref" in schema:
        schema = description["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _kind(schema: Mapping[str, Any], description: Mapping[str, Any]) -> str:
    inner = _resolved(schema, description)
    kind = "one of " + ", ".join(map(repr, inner["enum"])) if "enum" in inner else inner.get("type", "object")
    if kind == "array":
        kind = f"list of {_kind(inner['items'], description)}s"
    least, most = inner.get("minimum"), inner.get("maximum")
    bounds = f" {least:g} to {most:g}" if least is not None and most is not None and most < 2**31 - 1 else ""
    for limit, unit in (("maxLength", "characters"), ("maxItems", "items")):
        bounds += f", {inner[limit]:,} {unit} at most" if limit in inner else ""
    nullable = " or null" if any(each.get("type") == "null" for each in schema.get("anyOf", ())) else ""
    return kind + bounds + nullable


def _example(method: str, path: str, body: Mapping[str, Any], description: Mapping[str, Any]) -> str:
    server = description["servers"][0]["url"]
    if method == "GET":
        return f"curl '{server}{path.replace('{name}', '2-7')}'"
    data = json.dumps(_sample(body, description))
    return f"curl {server}{path} -H 'Content-Type: application/json' \\\n  -d '{data}'"


def _sample(schema: Mapping[str, Any], description: Mapping[str, Any], name: str = "") -> object:
    """Return a value that a schema takes, with what is required alone."""
    schema = _resolved(schema, description)
    if schema.get("type") == "array":
        return [_sample(schema["items"], description)]
    if "properties" in schema:
        return {key: _sample(schema["properties"][key], description, key) for key in schema.get("required", ())}
    return _EXAMPLES.get(name)
