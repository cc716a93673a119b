"""The Postman collection (v2.1) of endpoints: requests that check their own answers.

A run creates a record of its own and changes and deletes only that one; where records
cannot be created, what would change one is skipped until ``record_id`` is filled in.

Source: https://schema.postman.com/collection/json/v2.1.0/draft-07/docs/index.html
"""

import json
import re

SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
NAME = "BJET API Synchronization Module"
# Fields whose made-up value is good anywhere; a relation's would name no record.
SAFE_TYPES = (
    "char",
    "text",
    "html",
    "integer",
    "float",
    "monetary",
    "boolean",
    "date",
    "datetime",
    "selection",
)
_AUTH_NAMES = {"bearer": "Bearer Token", "basic": "Basic Auth", "none": "No Auth"}
_AUTH = {
    "bearer": {"bearer": {"token": "{{bearer_token}}"}},
    "basic": {
        "basic": {
            "username": "{{basic_auth_user}}",
            "password": "{{basic_auth_password}}",
        }
    },
    "none": {"noauth": {}},
}
_JSON_TEST = 'pm.test("The answer is JSON", () => pm.response.to.be.json);'
_LINES_TEST = [
    'pm.test("Each line of the answer is JSON", () =>',
    '    pm.response.text().split("\\n").filter(Boolean).forEach(JSON.parse));',
]
_SKIP_WITHOUT_RECORD = [
    "// Nothing is read, changed or deleted unless it is known which record.",
    'if (!pm.collectionVariables.get("record_id")) {',
    "    pm.execution.skipRequest();",
    "}",
]
_KEEP_RECORD = [
    "// Location ends in the value that names the new record in URLs.",
    'const location = pm.response.headers.get("Location");',
    "if (location) {",
    '    pm.collectionVariables.set("record_id", location.split("/").pop());',
    "}",
]
_FORGET_RECORD = ['pm.collectionVariables.unset("record_id");']


def build(contracts, base_url, route):
    """Return the collection of endpoints.

    :param list contracts: :class:`~.message.Contract` of each endpoint
    :param str base_url: value of the variable ``base_url``
    :param str route: path before the endpoint, ``/bj_api_sync/v1``
    :return: JSON object
    """
    folders = []
    if contracts:
        folders = [
            _authentication_folder(contracts, route),
            *(_endpoint_folder(contract, route) for contract in contracts),
            _error_folder(contracts[0], route),
        ]
    return {
        "info": {
            "name": NAME,
            "schema": SCHEMA,
            "description": "Fill in the variables of the collection (bearer_token, or "
            "basic_auth_user and basic_auth_password), then run it.",
        },
        "item": folders,
        "variable": _variables(contracts, base_url),
    }


def _variables(contracts, base_url):
    values = {
        "base_url": base_url,
        "bearer_token": "",
        "basic_auth_user": "",
        "basic_auth_password": "",
        "endpoint_name": contracts[0].endpoint if contracts else "",
    }
    for contract in contracts:
        for header in contract.headers:
            values[_header_variable(header)] = ""
        for rule in _unknowable(contract):
            values[_value_variable(rule)] = ""
    values["record_id"] = ""
    return [
        {"key": key, "value": value, "type": "string"} for key, value in values.items()
    ]


def _header_variable(header):
    return "header_" + re.sub(r"[^a-z0-9]", "_", header.lower())


def _value_variable(rule):
    return "value_" + re.sub(r"[^a-z0-9]", "_", rule.api_key.lower())


def _unknowable(contract):
    """Return the rules whose value is required, but names a record of the database."""
    if "POST" not in contract.methods and "PUT" not in contract.methods:
        return []
    return [
        rule
        for rule in contract.plan.writable
        if rule.required
        and rule.field_type in ("many2one", "many2many")
        and rule.value_type in ("plain", "relational_mapping")
    ]


def _skip_without_values(contract):
    lines = []
    for name in dict.fromkeys(map(_value_variable, _unknowable(contract))):
        lines += [
            f"// Fill in {name}: what the other side calls a record that exists.",
            f'if (!pm.variables.get("{name}")) {{',
            "    pm.execution.skipRequest();",
            "}",
        ]
    return lines


# ---------------------------------------------------------------------------- folders


def _authentication_folder(contracts, route):
    """Return one request for each kind of credentials that the endpoints want."""
    items, seen = [], set()
    for contract in contracts:
        kind = (contract.auth_type, contract.headers)
        if kind in seen:
            continue
        seen.add(kind)
        name = _AUTH_NAMES[contract.auth_type]
        if contract.headers:
            name = f"{name} and {', '.join(contract.headers)}"
        segment = _segment(contract, contracts[0])
        # The method is looked at after the credentials, so 405 accepts them as well.
        status = 200 if "GET" in contract.methods else 405
        items.append(
            _item(
                name,
                contract,
                "GET",
                [route, segment],
                [status],
                query={"limit": "1"},
                auth=contract.auth_type,
            )
        )
    return {"name": "Authentication Examples", "item": items}


def _segment(contract, first):
    return "{{endpoint_name}}" if contract is first else contract.endpoint


def _endpoint_folder(contract, route):
    path = [route, contract.endpoint]
    record = [*path, "{{record_id}}"]
    items = []
    if "GET" in contract.methods:
        page = {"limit": "10"}
        items += [
            _item("List", contract, "GET", path, [200], query=page),
            _item(
                "List as NDJSON",
                contract,
                "GET",
                path,
                [200],
                query=page,
                accept="application/x-ndjson",
            ),
        ]
    if "POST" in contract.methods:
        body = _body(contract, contract.create_example)
        dry = {"dry_run": "true"}
        needed = _skip_without_values(contract)
        items += [
            _item(
                "Try to create",
                contract,
                "POST",
                path,
                [201],
                body=body,
                query=dry,
                before=needed,
            ),
            _item(
                "Create",
                contract,
                "POST",
                path,
                [201],
                body=body,
                tests=_KEEP_RECORD,
                before=[*_FORGET_RECORD, *needed],
            ),
        ]
    known = {"before": _SKIP_WITHOUT_RECORD}
    if "GET" in contract.methods:
        items.append(_item("Read one", contract, "GET", record, [200], **known))
    if "PUT" in contract.methods:
        body = _body(contract, contract.update_example, updates=True)
        before = [*_SKIP_WITHOUT_RECORD, *_skip_without_values(contract)]
        items.append(
            _item("Update", contract, "PUT", record, [200], body=body, before=before)
        )
    if "DELETE" in contract.methods:
        verb = "Archive" if contract.delete_mode == "archive" else "Delete"
        named = {"identifier__in": "{{record_id}}", "dry_run": "true"}
        items += [
            _item(
                f"Try to {verb.lower()} several",
                contract,
                "DELETE",
                path,
                [200],
                query=named,
                **known,
            ),
            _item(
                verb,
                contract,
                "DELETE",
                record,
                [200],
                tests=_FORGET_RECORD,
                **known,
            ),
        ]
    else:
        items[-1]["event"][0]["script"]["exec"] += _FORGET_RECORD
    return {
        "name": contract.endpoint,
        "description": "\n\n".join(
            text for text in (contract.title, contract.description) if text
        ),
        "item": items,
        "auth": _auth(contract.auth_type),
    }


def _error_folder(contract, route):
    path = [route, "{{endpoint_name}}"]
    items = []
    if contract.auth_type != "none" or contract.headers:
        items.append(
            _item(
                "401 without credentials",
                contract,
                "GET",
                path,
                [401],
                auth="none",
                headers=(),
            )
        )
    items.append(
        _item(
            "404 unknown endpoint", contract, "GET", [route, "no-such-endpoint"], [404]
        )
    )
    if "GET" in contract.methods:
        items.append(
            _item(
                "404 unknown record", contract, "GET", [*path, "no-such-record"], [404]
            )
        )
    items.append(_item("405 PATCH", contract, "PATCH", path, [405], body="{}"))
    writing = [method for method in ("POST", "PUT") if method in contract.methods]
    if writing:
        bad = '{"name": '
        items.append(_item("400 bad JSON", contract, writing[0], path, [400], body=bad))
    elif "GET" in contract.methods:
        query = {"limit": "-1"}
        items.append(_item("400 bad limit", contract, "GET", path, [400], query=query))
    return {
        "name": "Error Scenarios",
        "item": items,
        "auth": _auth(contract.auth_type),
    }


# ------------------------------------------------------------------------- one request


def _item(
    name,
    contract,
    method,
    path,
    statuses,
    *,
    query=None,
    body=None,
    tests=(),
    before=(),
    auth=None,
    headers=None,
    accept=None,
):
    headers = contract.headers if headers is None else headers
    sent = [
        {"key": header, "value": "{{" + _header_variable(header) + "}}"}
        for header in headers
    ]
    if body is not None:
        sent.append({"key": "Content-Type", "value": "application/json"})
    if accept:
        sent.append({"key": "Accept", "value": accept})
    segments = [part for step in path for part in step.split("/") if part]
    raw = "{{base_url}}/" + "/".join(segments)
    url = {"raw": raw, "host": ["{{base_url}}"], "path": segments}
    if query:
        url["query"] = [{"key": key, "value": value} for key, value in query.items()]
        url["raw"] += "?" + "&".join(f"{key}={value}" for key, value in query.items())
    request = {"method": method, "header": sent, "url": url}
    if auth:
        request["auth"] = _auth(auth)
    if body is not None:
        request["body"] = {
            "mode": "raw",
            "raw": body,
            "options": {"raw": {"language": "json"}},
        }
    is_right = _LINES_TEST if accept else [_JSON_TEST]
    events = [_event("test", [*_status_test(statuses), *is_right, *tests])]
    if before:
        events.append(_event("prerequest", before))
    return {"name": name, "event": events, "request": request, "response": []}


def _status_test(statuses):
    expected = " or ".join(map(str, statuses))
    return [
        f'pm.test("The status is {expected}", () =>',
        f"    pm.expect(pm.response.code).to.be.oneOf({json.dumps(statuses)}));",
    ]


def _event(listen, lines):
    return {
        "listen": listen,
        "script": {"type": "text/javascript", "exec": list(lines)},
    }


def _auth(auth_type):
    [(kind, values)] = _AUTH[auth_type].items()
    auth = {"type": kind}
    if values:
        auth[kind] = [
            {"key": key, "value": value, "type": "string"}
            for key, value in values.items()
        ]
    return auth


def _body(contract, example, updates=False):
    """Return the JSON text of a body that any database takes, a new one at each run.

    Only what is required or plain is sent: the other side's name of a related record
    cannot be made up, so it is a variable.
    """
    payload, numbers = {}, ["{{$timestamp}}"]
    unknowable = _unknowable(contract)
    for rule in contract.plan.writable:
        if rule.is_identifier and updates:
            continue
        is_safe = rule.value_type == "plain" and rule.field_type in SAFE_TYPES
        if is_safe or rule.required or rule.is_identifier:
            found = example
            for step in rule.key_path:
                found = found.get(step) if isinstance(found, dict) else None
            if rule.is_identifier:
                found = _fresh(rule, found)
            elif rule in unknowable:
                variable = f"{{{{{_value_variable(rule)}}}}}"
                if _is_number(rule, contract.plans):
                    numbers.append(variable)
                found = [variable] if rule.is_x2many else variable
            if found is not None:
                _put(payload, rule.key_path, found)
    text = json.dumps(payload, ensure_ascii=False, indent=2)
    # A number stands in the text without quotes, but its variable only fits in a text.
    for variable in numbers:
        text = text.replace(f'"{variable}"', variable)
    return text


def _is_number(rule, plans):
    """Tell whether the other side names a related record by a number."""
    identifier = rule.is_relational and plans[rule.mapping_config_id].identifier
    return not identifier or identifier.field_type == "integer"


def _fresh(rule, found):
    """Return an identifier that no record has, by Postman's clock and chance."""
    if rule.field_type == "integer":
        return "{{$timestamp}}"
    if rule.field_type in ("char", "text"):
        is_short = 0 < rule.size < len("PM-1700000000-1000")
        return "PM-{{$timestamp}}" + ("" if is_short else "-{{$randomInt}}")
    return found


def _put(payload, key_path, found):
    *parents, last = key_path
    for step in parents:
        payload = payload.setdefault(step, {})
    payload[last] = found
