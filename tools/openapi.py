"""The OpenAPI 3.1 document of endpoints, in their external key names.

It says what to send, not all that is taken: the API also reads, for example, numbers in
texts. Related records that have a mapping model become components, so that a model which
leads back to itself is no problem.

Source: https://spec.openapis.org/oas/v3.1.0
"""

import re

NDJSON = "application/x-ndjson"
VERSION = "3.1.0"
API_VERSION = "1.0"
MAX_ENUM = 100  # choices of a field that are listed; a time zone has six hundred
MAX_IN_URL = 100  # records named in a URL, which proxies cut at some length
# As the filters: other names in a query string would never reach them.
RESERVED = ("limit", "offset", "order", "fields", "domain", "cursor", "count")
RESERVED += ("partial", "dry_run")

_WORD = re.compile(r"[A-Za-z0-9]+")
_ID = {"type": "integer", "format": "int32", "minimum": 1}
_BY_TYPE = {
    "char": {"type": "string"},
    "text": {"type": "string"},
    "html": {"type": "string", "contentMediaType": "text/html"},
    "integer": {"type": "integer", "format": "int32"},
    "float": {"type": "number", "format": "double"},
    "monetary": {"type": "number", "format": "double"},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
    "binary": {"type": "string", "contentEncoding": "base64"},
    "many2one": _ID,
    "many2one_reference": _ID,
    "one2many": {"type": "array", "items": _ID},
    "many2many": {"type": "array", "items": _ID},
    "reference": {"type": "string", "pattern": r"^[a-z0-9_.]+,[0-9]+$"},
}
_NEVER_NULL = ("integer", "float", "monetary", "boolean", "one2many", "many2many")
_OPERATORS = {
    "ne": "is not",
    "gt": "is greater than",
    "gte": "is at least",
    "lt": "is less than",
    "lte": "is at most",
    "in": "is one of",
    "nin": "is none of",
    "like": "contains, case-sensitive",
    "ilike": "contains",
    "startswith": "starts with",
    "isnull": "is empty (true) or is not (false)",
}
_ERRORS = {
    400: (
        "BadRequest",
        "The request cannot be understood or does not fit the mapping: JSON, query "
        "parameter, missing key, wrong type, or a rule of Odoo.",
    ),
    401: ("Unauthorized", "Missing or wrong credentials."),
    403: ("Forbidden", "Access rights, record rules or the caller's network."),
    404: ("NotFound", "No such endpoint or record."),
    405: (
        "MethodNotAllowed",
        "The method is not offered; `Allow` lists those that are.",
    ),
    406: ("NotAcceptable", "Only application/json can be answered."),
    408: ("RequestTimeout", "The body did not arrive in time."),
    409: (
        "Conflict",
        "The identifier exists already, names several records or another one, a "
        "constraint is violated, or a request with this Idempotency-Key still runs.",
    ),
    412: ("PreconditionFailed", "If-Match: the record has changed. Read it again."),
    413: (
        "PayloadTooLarge",
        "The body, its rows or the objects inside them are over the limit.",
    ),
    415: ("UnsupportedMediaType", "Send application/json."),
    422: ("IdempotencyMismatch", "The Idempotency-Key was used for another request."),
    429: ("RateLimited", "Too many calls, or too many failed attempts to log in."),
    500: ("InternalError", "Unexpected; the request id leads to the log entry."),
    503: ("Busy", "The database is busy: repeat the request."),
}
_READ_ERRORS = (400, 403, 404, 405, 406, 408, 429, 500, 503)
_WRITE_ERRORS = (*_READ_ERRORS, 409, 413, 415, 422)
_CODES = (
    "BAD_REQUEST",
    "VALIDATION_ERROR",
    "UNAUTHORIZED",
    "FORBIDDEN",
    "NOT_FOUND",
    "METHOD_NOT_ALLOWED",
    "NOT_ACCEPTABLE",
    "REQUEST_TIMEOUT",
    "CONFLICT",
    "PRECONDITION_FAILED",
    "PAYLOAD_TOO_LARGE",
    "UNSUPPORTED_MEDIA_TYPE",
    "IDEMPOTENCY_MISMATCH",
    "RATE_LIMITED",
    "INTERNAL_ERROR",
)
_DESCRIPTION = (
    "Generated from the API configurations. HEAD answers as GET without a body, OPTIONS "
    "names the methods. Some more than is written here is taken, such as numbers sent as "
    "text. Ignore keys that you do not know: answers may get more."
)


def build(contracts, server_url):
    """Return the OpenAPI document of endpoints.

    :param list contracts: :class:`~.message.Contract` of each endpoint
    :param str server_url: what the paths are appended to, without a final slash
    :return: JSON object; ``paths`` is empty without endpoints
    """
    components = _Components(contracts)
    paths = {}
    for contract in contracts:
        paths.update(_paths(contract, components))
    return {
        "openapi": VERSION,
        "info": {
            "title": "API Synchronization",
            "version": API_VERSION,
            "description": _DESCRIPTION,
        },
        "servers": [{"url": server_url}],
        "tags": [
            _described({"name": contract.endpoint}, _tag_text(contract))
            for contract in contracts
        ],
        "paths": paths,
        "components": components.as_dict(),
    }


def _tag_text(contract):
    return "\n\n".join(text for text in (contract.title, contract.description) if text)


# ------------------------------------------------------------------------- operations


def _paths(contract, components):
    many, one = {}, {}
    for method in contract.methods:
        operations = _OPERATIONS.get(method)
        for path, operation in zip((many, one), operations or (), strict=False):
            if operation:
                path[method.lower()] = operation(contract, components)
    record_id = {
        "name": "record_id",
        "in": "path",
        "required": True,
        "description": _record_id_text(contract),
        "schema": {"type": "string", "minLength": 1},
    }
    paths = {}
    if many:
        paths[f"/{contract.endpoint}"] = many
    if one:
        paths[f"/{contract.endpoint}/{{record_id}}"] = {
            "parameters": [record_id],
            **one,
        }
    return paths


def _record_id_text(contract):
    identifier = contract.plan.identifier
    key = identifier.api_key if identifier else "id"
    return f"Value of {key}, or the Odoo id, as the endpoint is configured."


_CLOSING_LINE = (
    'with "Prefer: closing-line" its last line is {"success": true, "rows": n}, without '
    "which it is not whole."
)


def _list(contract, components):
    schema = {"type": "array", "items": components.record(contract)}
    headers = {
        "X-Total-Count": _header(
            "Records in all; not sent with count=none.", "integer"
        ),
        "X-Next-Cursor": _header("Cursor of the next page, in a cursor walk."),
        "Link": _header("RFC 8288: first, prev, next and last page."),
    }
    answer = _answer(
        contract, "A page of records.", schema, [contract.read_example], headers, "list"
    )
    answer["content"][NDJSON] = _lines("a record")
    return _operation(
        contract,
        components,
        "list",
        f"List {contract.endpoint}",
        description="A long list is sent while it is read. As application/x-ndjson the "
        f"limit is {contract.max_limit} unless another one is sent; {_CLOSING_LINE}",
        parameters=[
            *_list_parameters(contract),
            components.parameter("PreferLine"),
            *components.common("read"),
        ],
        responses={"200": answer},
        errors=_READ_ERRORS,
    )


def _get(contract, components):
    answer = _answer(
        contract,
        "The record.",
        components.record(contract),
        contract.read_example,
        {"ETag": _header("Fingerprint of the record, for If-None-Match and If-Match.")},
    )
    return _operation(
        contract,
        components,
        "get",
        f"Read one of {contract.endpoint}",
        parameters=[
            *_fields_parameter(contract),
            components.parameter("IfNoneMatch"),
            *components.common("read"),
        ],
        responses={
            "200": answer,
            "304": {"description": "The record is as the caller knows it."},
        },
        errors=_READ_ERRORS,
    )


def _post(contract, components):
    text = (
        "An object creates one record, an array many, all or none. Sent as "
        "application/x-ndjson, one object a line is an array too."
    )
    if contract.upsert:
        text += " A record that has the identifier already is updated."
    schema = components.body(contract, "Create")
    return _operation(
        contract,
        components,
        "create",
        f"Create {contract.endpoint}",
        description=text,
        parameters=components.common("write"),
        body=_body(contract, schema, contract.create_example, bulk=True),
        responses=_written_responses(contract, components, bulk=True, creates=True),
        errors=_WRITE_ERRORS,
    )


def _put_many(contract, components):
    identifier = contract.plan.identifier
    if not identifier:
        return None
    named = {
        "allOf": [
            components.body(contract, "Update"),
            _shape(identifier.key_path, _filled(components.value(identifier)), True),
        ]
    }
    example = _merge(
        contract.update_example,
        _at(identifier.key_path, _get_at(contract.create_example, identifier.key_path)),
    )
    return _operation(
        contract,
        components,
        "updateMany",
        f"Update {contract.endpoint} named in the body",
        description="Only the keys sent are written."
        + (" What does not exist is created." if contract.upsert else ""),
        parameters=components.common("write"),
        body=_body(contract, named, example, bulk=True),
        responses=_written_responses(
            contract, components, bulk=True, creates=contract.upsert
        ),
        errors=_WRITE_ERRORS,
    )


def _put(contract, components):
    return _operation(
        contract,
        components,
        "update",
        f"Update one of {contract.endpoint}",
        description="Only the keys sent are written."
        + (" What does not exist is created." if contract.upsert else ""),
        parameters=[components.parameter("IfMatch"), *components.common("write")],
        body=_body(
            contract, components.body(contract, "Update"), contract.update_example
        ),
        responses=_written_responses(contract, components, creates=contract.upsert),
        errors=(*_WRITE_ERRORS, 412),
    )


def _delete(contract, components):
    verb = "Archive" if contract.delete_mode == "archive" else "Delete"
    return _operation(
        contract,
        components,
        "delete",
        f"{verb} one of {contract.endpoint}",
        parameters=[components.parameter("IfMatch"), *components.common("write")],
        responses={
            "200": _answer(
                contract,
                "Identifier and id of what is gone.",
                _deleted_schema(contract, components),
                _deleted_example(contract),
                _WRITTEN_HEADERS,
            )
        },
        errors=(*_WRITE_ERRORS, 412),
    )


def _delete_many(contract, components):
    verb = "Archive" if contract.delete_mode == "archive" else "Delete"
    named = _list_parameter(
        "identifier__in", "Record identifiers, separated by commas.", {"type": "string"}
    )
    named.update(required=True)
    named["schema"].update(minItems=1, maxItems=min(contract.max_bulk, MAX_IN_URL))
    named["schema"]["items"].update(minLength=1)
    return _operation(
        contract,
        components,
        "deleteMany",
        f"{verb} several of {contract.endpoint}",
        description="All or none, unless partial is true.",
        parameters=[named, *components.common("write")],
        responses={
            "200": _answer(
                contract,
                "Identifier and id of each record that is gone.",
                {"type": "array", "items": _deleted_schema(contract, components)},
                [_deleted_example(contract)],
                _WRITTEN_HEADERS,
                kind="list",
            ),
            "207": _partial_answer(contract, components, "deleted", 200),
        },
        errors=_WRITE_ERRORS,
    )


#: ``{method: (operation on the collection, operation on one record)}``
_OPERATIONS = {
    "GET": (_list, _get),
    "POST": (_post, None),
    "PUT": (_put_many, _put),
    "DELETE": (_delete_many, _delete),
}


def _operation(
    contract,
    components,
    name,
    summary,
    *,
    parameters,
    responses,
    errors,
    description="",
    body=None,
):
    operation = {
        "operationId": f"{name}{components.name_of(contract)}",
        "tags": [contract.endpoint],
        "summary": summary,
    }
    _described(operation, description)
    operation["parameters"] = parameters
    if body:
        operation["requestBody"] = body
    if contract.auth_type != "none" or contract.headers:
        errors = (*errors, 401)
    operation["responses"] = {
        **responses,
        **{
            str(status): components.error(contract.response_format, status)
            for status in sorted(errors)
        },
    }
    operation["security"] = [components.security(contract)]
    return operation


def _body(contract, schema, example, bulk=False):
    if bulk:
        rows = {
            "type": "array",
            "items": schema,
            "minItems": 1,
            "maxItems": contract.max_bulk,
        }
        schema = {"oneOf": [schema, rows]}
    if contract.has_request_script:
        # The script sees the body before it is mapped, so it may take any shape.
        schema = {"anyOf": [schema, {"type": ["object", "array"]}]}
    content = {"application/json": {"schema": schema, "example": example}}
    if bulk:
        content[NDJSON] = _lines("an object of the array")
    return {"required": True, "content": content}


def _lines(what):
    """Return a media type of NDJSON, for whose lines OpenAPI 3.1 has no schema."""
    schema = {"type": "string", "description": f"JSON lines, each {what}."}
    return {"schema": schema}


def _written_responses(contract, components, bulk=False, creates=False):
    schema = components.saved(contract)
    example = {"id": 1, **contract.read_example}
    if bulk:
        schema = {"oneOf": [schema, {"type": "array", "items": schema}]}
    etag = {
        "ETag": _header("Fingerprint of the record; not sent for an array."),
        **_WRITTEN_HEADERS,
    }
    responses = {}
    if creates:
        location = {"Location": _header("URL of the record; not sent for an array.")}
        responses["201"] = _answer(
            contract, "Created.", schema, example, {**etag, **location}
        )
    responses["200"] = _answer(contract, "Updated.", schema, example, etag)
    if bulk:
        responses["207"] = _partial_answer(contract, components, "created", 201)
    return responses


def _partial_answer(contract, components, status, code):
    example = {
        "index": 0,
        "status": status,
        "code": code,
        "id": 1,
        "identifier": "A-1001",
        "message": "",
    }
    return _answer(
        contract,
        "One result for each row, with partial=true.",
        {"type": "array", "items": components.row_result()},
        [example],
        _WRITTEN_HEADERS,
        kind="list",
    )


def _answer(contract, description, schema, example, headers=None, kind="object"):
    if contract.has_response_script:
        schema = _described({}, "Whatever the response script makes of it.")
    return {
        "description": description,
        "headers": {**(headers or {}), **_common_headers(contract)},
        "content": {
            "application/json": {
                "schema": _enveloped(contract, schema, kind),
                "example": _envelope_example(contract, example, kind),
            }
        },
    }


def _common_headers(contract):
    headers = {"X-Request-ID": {"$ref": "#/components/headers/RequestId"}}
    if contract.is_rate_limited:
        for name in ("Limit", "Remaining", "Reset"):
            headers[f"X-RateLimit-{name}"] = {
                "$ref": f"#/components/headers/RateLimit{name}"
            }
    return headers


def _enveloped(contract, schema, kind):
    properties = _ENVELOPES[contract.response_format]
    if not properties:
        return schema
    properties = {**properties, "data": schema}
    required = sorted(properties)
    if kind == "list" and contract.is_paginated:
        properties["pagination"] = {"$ref": "#/components/schemas/Pagination"}
    return {"type": "object", "properties": properties, "required": required}


_ENVELOPES = {
    "bare": {},
    "status": {"status": {"const": "success"}},
    "success": {"success": {"const": True}, "message": {"type": "string"}},
}


def _envelope_example(contract, example, kind):
    if contract.response_format == "bare":
        return example
    if contract.response_format == "status":
        value = {"status": "success", "data": example}
    else:
        value = {"success": True, "data": example, "message": "Success"}
    if kind == "list" and contract.is_paginated:
        value["pagination"] = {
            "total": 1,
            "limit": contract.limit,
            "offset": 0,
            "next": None,
            "previous": None,
        }
    return value


def _deleted_schema(contract, components):
    schema = {
        "type": "object",
        "properties": {"id": _ID},
        "required": ["id"],
    }
    identifier = contract.plan.identifier
    if not identifier:
        return schema
    named = _shape(
        identifier.key_path, nullable(components.value(identifier)), required=True
    )
    if identifier.key_path[0] == "id":
        return named
    return {**schema, **_merge(schema, named), "required": ["id", *named["required"]]}


def _deleted_example(contract):
    identifier = contract.plan.identifier
    if not identifier:
        return {"id": 1}
    value = _get_at(contract.read_example, identifier.key_path)
    return _merge({"id": 1}, _at(identifier.key_path, value))


# ------------------------------------------------------------------------- parameters


def _list_parameters(contract):
    parameters = [
        _query(
            "limit",
            f"Records of a page; at most {contract.max_limit} are answered.",
            {"type": "integer", "minimum": 1, "default": contract.limit},
        ),
        _query(
            "offset",
            "Records to skip.",
            {"type": "integer", "minimum": 0, "default": 0, "maximum": 10**12 - 1},
        ),
    ]
    if contract.orders:
        terms = [term for name in contract.orders for term in (name, f"{name} desc")]
        parameters.append(
            _list_parameter(
                "order",
                "Keys to sort by, each at most once.",
                {"type": "string", "enum": terms},
            )
        )
    parameters += _fields_parameter(contract)
    parameters += [
        _query(
            "count",
            "none: do not count, which is faster.",
            {"type": "string", "enum": ["exact", "none"], "default": "exact"},
        ),
        _query(
            "cursor",
            "Walk through many records: empty for the first page, then X-Next-Cursor "
            "of the page before. Not together with offset.",
            {"type": "string"},
            allowEmptyValue=True,
        ),
        _query(
            "domain",
            "Search domain as JSON, for conditions that filters cannot express.",
            {"type": "string"},
            example='[["id", ">", 10]]',
        ),
    ]
    taken = {*RESERVED}
    for param in contract.params:
        if param.name not in taken:
            taken.add(param.name)
            parameters.append(_param(param))
    for filtered in contract.filters:
        if filtered.name in taken:
            continue
        taken.add(filtered.name)
        parameters += [
            _filter(filtered, suffix)
            for suffix in filtered.suffixes
            if f"{filtered.name}__{suffix}" not in taken
        ]
    return parameters


def _fields_parameter(contract):
    if not contract.keys:
        return []
    return [
        _list_parameter(
            "fields",
            "Only these keys.",
            {"type": "string", "enum": list(contract.keys)},
        )
    ]


def _param(param):
    schema = _scalar(param.field_type, param.selection, param.operator)
    text = f"Parameter: {param.path} {param.operator} value."
    if param.value:
        text += f" Without it: {param.value}."
    if param.operator in ("in", "not in"):
        return _list_parameter(param.name, text, schema)
    return _query(param.name, text, schema)


def _filter(filtered, suffix):
    if suffix == "eq":
        text = f"{filtered.name} is this; repeat it for one of several."
        return _query(
            filtered.name, text, _scalar(filtered.field_type, filtered.selection)
        )
    name = f"{filtered.name}__{suffix}"
    text = f"{filtered.name} {_OPERATORS[suffix]}."
    if suffix == "isnull":
        return _query(name, text, {"type": "boolean"})
    if suffix in ("like", "ilike", "startswith"):
        return _query(name, text, {"type": "string", "minLength": 1})
    schema = _scalar(filtered.field_type, filtered.selection)
    if suffix in ("in", "nin"):
        return _list_parameter(name, text, schema)
    return _query(name, text, schema)


def _scalar(field_type, selection=(), operator="="):
    """Return the schema of one value to compare a field with."""
    if operator in ("like", "not like", "ilike", "not ilike", "=ilike"):
        return {"type": "string", "minLength": 1}
    if field_type in ("one2many", "many2many"):
        field_type = "many2one"
    if field_type == "selection":
        listed = selection and len(selection) <= MAX_ENUM
        return (
            {"type": "string", "enum": list(selection)}
            if listed
            else {"type": "string"}
        )
    schema = dict(_BY_TYPE.get(field_type, {"type": "string"}))
    if schema.get("type") == "string" and not schema.get("format"):
        schema["minLength"] = 1
    schema.pop("contentMediaType", None)
    return schema


def _query(name, description, schema, **more):
    return {
        "name": name,
        "in": "query",
        "description": description,
        "schema": schema,
        **more,
    }


def _list_parameter(name, description, items):
    schema = {"type": "array", "items": items, "minItems": 1}
    if name in ("order", "fields"):
        schema["uniqueItems"] = True
    return _query(name, description, schema, style="form", explode=False)


def _header(description, kind="string"):
    return {"description": description, "schema": {"type": kind}}


# ------------------------------------------------------------------------- components


class _Components:
    """Collects the shared parts of a document while its operations are written."""

    def __init__(self, contracts):
        self.plans = {}
        self.list_lines = frozenset()
        self.names = {}
        for contract in contracts:
            self.plans.update(contract.plans)
            self.plans[contract.plan.config_id] = contract.plan
            self.list_lines |= contract.list_lines
            self._name(contract.plan.config_id, contract.endpoint)
        self.schemas = {}
        self.responses = {}
        self.parameters = {}
        self.schemes = {}
        self.is_paginated = any(
            contract.is_paginated and contract.response_format != "bare"
            for contract in contracts
        )
        self.is_rate_limited = any(contract.is_rate_limited for contract in contracts)

    def as_dict(self):
        headers = {"RequestId": _header("Identifies the exchange in the log.")}
        if self.is_rate_limited:
            headers["RateLimitLimit"] = _header("Calls allowed.", "integer")
            headers["RateLimitRemaining"] = _header("Calls left.", "integer")
            headers["RateLimitReset"] = _header("Seconds until it resets.", "integer")
        if self.is_paginated:
            self.schemas["Pagination"] = _PAGINATION
        parts = {
            "schemas": dict(sorted(self.schemas.items())),
            "parameters": self.parameters,
            "headers": headers,
            "responses": self.responses,
            "securitySchemes": self.schemes,
        }
        return {name: part for name, part in parts.items() if part}

    # -- names

    def name_of(self, contract):
        return self._name(contract.plan.config_id, contract.endpoint)

    def _name(self, config_id, text):
        """Return the name of a configuration's components: ``res-partner``: ResPartner."""
        if config_id not in self.names:
            name = (
                "".join(word[0].upper() + word[1:] for word in _WORD.findall(text))
                or f"Mapping{config_id}"
            )
            taken = {*self.names.values(), *_OWN_NAMES}
            # "Order" would also clash with the "OrderCreate" of another one.
            if any(name in (other, *_derived(other)) for other in taken) or any(
                other in _derived(name) for other in taken
            ):
                name = f"{name}{config_id}"
            self.names[config_id] = name
        return self.names[config_id]

    # -- schemas

    def record(self, contract):
        return self._read_ref(contract.plan)

    def saved(self, contract):
        """Return the schema of a record that was written: as read, and with its id."""
        if any(rule.key_path == ("id",) for rule in contract.plan.readable):
            return self.record(contract)
        name = f"{self.name_of(contract)}Saved"
        self.schemas[name] = {
            "allOf": [
                self.record(contract),
                {"type": "object", "properties": {"id": _ID}, "required": ["id"]},
            ]
        }
        return _ref(name)

    def body(self, contract, kind):
        """Return the schema of a body to create (``Create``) or update (``Update``)."""
        name = f"{self.name_of(contract)}{kind}"
        if name not in self.schemas:
            self.schemas[name] = self._write_schema(
                contract.plan, required=kind == "Create"
            )
        return _ref(name)

    def _read_ref(self, plan):
        name = self._name(plan.config_id, plan.name)
        if name not in self.schemas:
            self.schemas[name] = {}  # known from here on, for a model inside itself
            tree = _Tree()
            for rule in plan.readable:
                if self._is_shown(rule):
                    tree.add(rule.key_path, self._read_value(rule))
            self.schemas[name] = tree.as_schema()
        return _ref(name)

    def _is_shown(self, rule):
        scripted = rule.value_type in ("python_plain", "python_relational")
        return bool(
            rule.path
            or rule.value_type == "constant"
            or (scripted and rule.read_script)
        )

    def _read_value(self, rule):
        if rule.value_type == "constant":
            return {"const": rule.constant}
        if rule.read_script and rule.value_type.startswith("python_"):
            return {"description": "Computed by a script."}
        if rule.is_relational:
            plan = self.plans[rule.mapping_config_id]
            if rule.nested_format == "object":
                schema = self._read_ref(plan)
            elif plan.identifier:
                schema = nullable(self.value(plan.identifier))
            else:
                schema = _ID
            if rule.is_x2many or rule.line_id in self.list_lines:
                schema = {"type": "array", "items": schema}
                in_path = len(rule.path) > 1 and rule.line_id not in self.list_lines
                return nullable(schema) if in_path else schema
            return nullable(schema)
        schema = self.value(rule)
        through = len(rule.path) > 1
        if rule.line_id in self.list_lines:
            items = schema.get("items", schema)
            return {"type": "array", "items": nullable(items)}
        if through or rule.field_type not in _NEVER_NULL:
            schema = nullable(schema)
        return schema

    def value(self, rule):
        """Return the schema of a field's value when there is one."""
        if rule.field_type == "selection":
            if rule.selection and len(rule.selection) <= MAX_ENUM:
                return {"type": "string", "enum": list(rule.selection)}
            return {"type": "string"}
        schema = _BY_TYPE.get(rule.field_type, {})
        if rule.size:
            schema = {**schema, "maxLength": rule.size}
        return schema

    def _write_ref(self, plan):
        name = f"{self._name(plan.config_id, plan.name)}Write"
        if name not in self.schemas:
            self.schemas[name] = {}
            self.schemas[name] = self._write_schema(plan, required=False)
        return _ref(name)

    def _write_schema(self, plan, required):
        tree = _Tree(is_closed=plan.reject_unknown_keys, is_nullable=True)
        rules = plan.writable
        if plan.identifier and plan.identifier not in rules:
            rules = (plan.identifier, *rules)
        for rule in rules:
            if rule.value_type == "constant":
                continue
            tree.add(
                rule.key_path,
                self._write_value(rule),
                required=required and _is_demanded(rule),
                never_null=_is_demanded(rule),
            )
        return tree.as_schema()

    def _write_value(self, rule):
        if rule.script and rule.value_type.startswith("python_"):
            return {"description": "Worked on by a script."}
        if not rule.is_relational:
            schema = self.value(rule)
        else:
            plan = self.plans[rule.mapping_config_id]
            schema = self._write_ref(plan)
            if plan.identifier:
                schema = {"anyOf": [self.value(plan.identifier), schema]}
            if rule.is_x2many:
                schema = {"type": "array", "items": schema}
        return schema if _is_demanded(rule) else nullable(schema)

    def row_result(self):
        self.schemas["RowResult"] = _ROW_RESULT
        self.schemas["RowError"] = _ROW_ERROR
        return _ref("RowResult")

    # -- the rest

    def security(self, contract):
        """Return what a call needs, all of it at once; empty for a public endpoint."""
        needed = {}
        if contract.auth_type == "basic":
            self.schemes["basicAuth"] = {"type": "http", "scheme": "basic"}
            needed["basicAuth"] = []
        elif contract.auth_type == "bearer":
            self.schemes["bearerAuth"] = {"type": "http", "scheme": "bearer"}
            needed["bearerAuth"] = []
        for header in contract.headers:
            name = re.sub(r"[^A-Za-z0-9._-]", "_", header)
            self.schemes[name] = {"type": "apiKey", "in": "header", "name": header}
            needed[name] = []
        return needed

    def parameter(self, name):
        self.parameters[name] = _PARAMETERS[name]
        return {"$ref": f"#/components/parameters/{name}"}

    def common(self, side):
        names = ["RequestId", "ApiVersion", "AcceptLanguage"]
        if side == "write":
            names = ["Partial", "DryRun", "IdempotencyKey", "Prefer", *names]
        return [self.parameter(name) for name in names]

    def error(self, response_format, status):
        kind, description = _ERRORS[status]
        schema = f"Error{response_format.capitalize()}"
        self.schemas[schema] = _ERROR_SCHEMAS[response_format]
        name = f"{kind}{response_format.capitalize()}"
        headers = {"X-Request-ID": {"$ref": "#/components/headers/RequestId"}}
        for header, text in _ERROR_HEADERS.get(status, {}).items():
            headers[header] = _header(text)
        self.responses[name] = {
            "description": description,
            "headers": headers,
            "content": {"application/json": {"schema": _ref(schema)}},
        }
        return {"$ref": f"#/components/responses/{name}"}


class _Tree:
    """Schemas along key paths, put together as nested objects."""

    def __init__(self, is_closed=False, is_nullable=False):
        self.leaves = {}
        self.required = set()
        self.never_null = set()
        self.is_closed = is_closed
        self.is_nullable = is_nullable

    def add(self, key_path, schema, required=False, never_null=False):
        step, *rest = key_path
        if rest:
            child = self.leaves.setdefault(
                step, _Tree(self.is_closed, self.is_nullable)
            )
            child.add(rest, schema, required, never_null)
        else:
            self.leaves[step] = schema
        if required:
            self.required.add(step)
        if never_null:
            self.never_null.add(step)

    def as_schema(self):
        properties = {}
        for step, leaf in self.leaves.items():
            if isinstance(leaf, _Tree):
                leaf = leaf.as_schema()
                if self.is_nullable and step not in self.never_null:
                    leaf = nullable(leaf)
            properties[step] = leaf
        schema = {"type": "object", "properties": properties}
        if self.required:
            schema["required"] = sorted(self.required)
        if self.is_closed:
            schema["additionalProperties"] = False
        return schema


def nullable(schema):
    """Return the schema that also takes null, the way of JSON Schema 2020-12."""
    if not schema or "const" in schema:
        return schema
    if "anyOf" in schema:
        if {"type": "null"} in schema["anyOf"]:
            return schema
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    if "type" not in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    if "null" in schema["type"]:
        return schema
    schema = {**schema, "type": [schema["type"], "null"]}
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    return schema


def _is_demanded(rule):
    return rule.required and rule.value_type in ("plain", "relational_mapping")


def _filled(schema):
    return {**schema, "minLength": 1} if schema.get("type") == "string" else schema


def _ref(name):
    return {"$ref": f"#/components/schemas/{name}"}


def _derived(name):
    return tuple(f"{name}{kind}" for kind in ("Saved", "Create", "Update", "Write"))


def _described(value, text):
    if text:
        value["description"] = text
    return value


def _shape(key_path, schema, required=False):
    tree = _Tree()
    tree.add(key_path, schema, required=required)
    return tree.as_schema()


def _at(key_path, value):
    for step in reversed(key_path):
        value = {step: value}
    return value


def _get_at(payload, key_path):
    for step in key_path:
        payload = payload.get(step) if isinstance(payload, dict) else None
    return payload


def _merge(left, right):
    merged = dict(left)
    for key, value in right.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _request_header(name, description, schema):
    return {"name": name, "in": "header", "description": description, "schema": schema}


_PARAMETERS = {
    "RequestId": _request_header(
        "X-Request-ID",
        "Name of the exchange, answered and logged: 1 to 128 visible ASCII characters, "
        "else one is made up.",
        {"type": "string"},
    ),
    "ApiVersion": _request_header(
        "X-API-Version", "Version of the API.", {"type": "string", "enum": ["1", "1.0"]}
    ),
    "AcceptLanguage": _request_header(
        "Accept-Language",
        "Language of messages and translated values, if it is installed.",
        {"type": "string"},
    ),
    "IfMatch": _request_header(
        "If-Match", "ETag of the record as the caller knows it.", {"type": "string"}
    ),
    "IfNoneMatch": _request_header(
        "If-None-Match",
        "ETag that the caller has: 304 if it holds.",
        {"type": "string"},
    ),
    "IdempotencyKey": _request_header(
        "Idempotency-Key",
        "Makes a repeat safe: the first answer is kept for 24 hours and given again.",
        {"type": "string", "pattern": "^[!-~]{1,255}$"},
    ),
    "Prefer": _request_header(
        "Prefer",
        "handling=lenient is partial=true.",
        {"type": "string", "enum": ["handling=lenient", "handling=strict"]},
    ),
    "PreferLine": _request_header(
        "Prefer",
        "closing-line adds a last line to application/x-ndjson that is no row.",
        {"type": "string", "enum": ["closing-line"]},
    ),
    "Partial": _query(
        "partial",
        "Of an array, keep the rows that work; 207 tells about each.",
        {"type": "boolean", "default": False},
    ),
    "DryRun": _query(
        "dry_run",
        "Answer as if, under all rules; change nothing and send nothing elsewhere.",
        {"type": "boolean", "default": False},
    ),
}
_WRITTEN_HEADERS = {
    "X-Dry-Run": _header("true when nothing was changed."),
    "Idempotent-Replayed": _header("true for an answer that was kept."),
}
_ERROR_HEADERS = {
    401: {"WWW-Authenticate": "The scheme that is expected."},
    405: {"Allow": "The methods that are offered."},
    429: {"Retry-After": "Seconds to wait."},
}
_ERROR_DETAILS = {
    "type": "object",
    "description": "Facts for a program, such as key, line_id, index, errors.",
}
_REQUEST_ID = {"type": "string"}
_ERROR_SCHEMAS = {
    "bare": {
        "type": "object",
        "description": "`message`; or `error`, when a configuration line failed.",
        "properties": {
            "message": {"type": "string"},
            "error": {"type": "string"},
            "line_id": {"type": "integer"},
            "status_code": {"enum": list(_CODES)},
            "details": _ERROR_DETAILS,
            "request_id": _REQUEST_ID,
        },
        "anyOf": [
            {"required": ["message"]},
            {"required": ["error", "line_id", "status_code"]},
        ],
    },
    "status": {
        "type": "object",
        "properties": {
            "status": {"const": "error"},
            "message": {"type": "string"},
            "code": {"type": "integer", "description": "The HTTP status."},
            "line_id": {"type": "integer"},
            "details": _ERROR_DETAILS,
            "request_id": _REQUEST_ID,
        },
        "required": ["status", "message", "code"],
    },
    "success": {
        "type": "object",
        "properties": {
            "success": {"const": False},
            "error": {
                "type": "object",
                "properties": {
                    "code": {"enum": list(_CODES)},
                    "message": {"type": "string"},
                    "details": _ERROR_DETAILS,
                },
                "required": ["code", "message", "details"],
            },
            "request_id": _REQUEST_ID,
        },
        "required": ["success", "error"],
    },
}
_PAGINATION = {
    "type": "object",
    "properties": {
        "total": {"type": ["integer", "null"]},
        "limit": {"type": "integer"},
        "offset": {"type": ["integer", "null"]},
        "next": {"type": ["string", "null"]},
        "previous": {"type": ["string", "null"]},
    },
    "required": ["total", "limit", "offset", "next", "previous"],
}
_ROW_ERROR = {
    "type": "object",
    "properties": {
        "index": {"type": "integer"},
        "key": {"type": "string"},
        "line_id": {"type": "integer"},
        "message": {"type": "string"},
    },
    "required": ["index", "message"],
}
_ROW_RESULT = {
    "type": "object",
    "properties": {
        "index": {"type": "integer"},
        "status": {"enum": ["created", "updated", "unchanged", "deleted", "error"]},
        "code": {"type": "integer"},
        "id": {"type": ["integer", "null"]},
        "identifier": {},
        "message": {"type": "string"},
        "errors": {"type": "array", "items": _ref("RowError")},
    },
    "required": ["index", "status", "code", "id", "identifier", "message"],
}
_OWN_NAMES = (
    "Pagination",
    "RowResult",
    "RowError",
    "ErrorBare",
    "ErrorStatus",
    "ErrorSuccess",
)
