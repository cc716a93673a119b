"""As much of JSON Schema 2020-12 as the documents use, and stricter in one point: keys
that a schema does not name are faults, unless it names none at all."""

import base64
import re
from datetime import date, datetime

TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def faults(document, schema, value, where="$", known=()):
    """Return what is wrong with ``value``: a list of sentences, empty if it fits.

    :param dict document: what ``$ref`` points into
    :param known: keys that another part of an ``allOf`` names
    """
    if "$ref" in schema:
        return faults(document, resolve(document, schema), value, where, known)
    found = []
    for part in schema.get("allOf", ()):
        others = {key for other in schema["allOf"] for key in keys(document, other)}
        found += faults(document, part, value, where, {*known, *others})
    for name in ("anyOf", "oneOf"):
        fitting = [
            not faults(document, part, value, where, known)
            for part in schema.get(name, ())
            if "required" not in part or "properties" in part
        ]
        if fitting and (not any(fitting) or (name == "oneOf" and sum(fitting) > 1)):
            found.append(f"{where}: fits {sum(fitting)} of {len(fitting)} in {name}")
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(is_type(value, kind) for kind in kinds):
        return [*found, f"{where}: {value!r} is no {' or '.join(kinds)}"]
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where}: {value!r} is none of {schema['enum']}")
    if "const" in schema and value != schema["const"]:
        found.append(f"{where}: {value!r} is not {schema['const']!r}")
    if isinstance(value, str):
        found += text_faults(schema, value, where)
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            found += faults(document, schema["items"], item, f"{where}[{index}]")
    if isinstance(value, dict) and "properties" in schema:
        properties = schema["properties"]
        for key in schema.get("required", ()):
            if key not in value:
                found.append(f"{where}: lacks {key}")
        for key, inner in value.items():
            if key in properties:
                found += faults(document, properties[key], inner, f"{where}.{key}")
            elif key not in known:
                found.append(f"{where}: {key} is not described")
    return found


def is_type(value, kind):
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, TYPES[kind])


def text_faults(schema, value, where):
    try:
        if schema.get("format") == "date":
            date.fromisoformat(value)
        if schema.get("format") == "date-time":
            datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ")
        if schema.get("contentEncoding") == "base64":
            base64.b64decode(value, validate=True)
    except ValueError as error:
        return [f"{where}: {error}"]
    if len(value) < schema.get("minLength", 0):
        return [f"{where}: {value!r} is too short"]
    if not re.search(schema.get("pattern", ""), value):
        return [f"{where}: {value!r} does not match {schema['pattern']}"]
    return []


def resolve(document, node):
    """Return what the ``$ref`` of ``node`` points to, ``node`` itself without one."""
    while "$ref" in node:
        target = document
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


def keys(document, schema):
    """Return the names of the keys that a schema describes."""
    schema = resolve(document, schema)
    parts = [key for part in schema.get("allOf", ()) for key in keys(document, part)]
    return [*schema.get("properties", ()), *parts]


def walk(node):
    """Yield every object inside a document, itself first."""
    if isinstance(node, dict):
        yield node
    for inner in node.values() if isinstance(node, dict) else node:
        if isinstance(inner, dict | list):
            yield from walk(inner)
