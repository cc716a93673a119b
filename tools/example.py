"""Made-up payloads of a mapping, by field type and name: never data of the database."""

MAX_DEPTH = 4

_PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAA"
    "AABJRU5ErkJggg=="
)
_BY_TYPE = {
    "integer": 1,
    "float": 12.5,
    "monetary": 12.5,
    "boolean": True,
    "date": "2025-01-31",
    "datetime": "2025-01-31T10:00:00Z",
    "binary": _PIXEL,
    "many2one": 1,
    "many2one_reference": 1,
    "one2many": [1],
    "many2many": [1],
    "reference": "res.partner,1",
    "html": "<p>Text</p>",
    "json": {},
    "properties": [],
}
ANY_TEXT = "Text"
# The first word that the name of the field, or else the external key, contains.
_BY_WORD = (
    ("email", "ann@example.com"),
    ("phone", "+380 44 123 4567"),
    ("mobile", "+380 50 123 4567"),
    ("website", "https://example.com"),
    ("url", "https://example.com"),
    ("street2", "Office 2"),
    ("street", "Main Street 1"),
    ("city", "Kyiv"),
    ("zip", "01001"),
    ("barcode", "5901234123457"),
    ("name", "Example"),
    ("code", "A-1001"),
    ("sku", "A-1001"),
    ("ref", "A-1001"),
)


def read(plan, plans, list_lines=frozenset()):
    """Return a payload as a GET could answer it.

    :param dict plans: mapping models by configuration id
    :param list_lines: ids of the lines whose path goes through a list
    """
    return _read(plan, plans, list_lines, MAX_DEPTH)


def create(plan, plans):
    """Return a payload that a POST could take.

    Related records are named by their identifier; the caller has to put one that exists.
    """
    return _write(plan, plans, MAX_DEPTH, with_identifier=True)


def update(plan, plans):
    """Return a payload that a PUT of one record could take."""
    return _write(plan, plans, MAX_DEPTH, with_identifier=False)


def value(rule):
    """Return one value of the field that a rule maps."""
    if rule.field_type == "selection":
        return rule.selection[0] if rule.selection else "text"
    if rule.field_type not in ("char", "text", ""):
        return _BY_TYPE.get(rule.field_type)
    text = _text(rule)
    if rule.is_identifier and text == ANY_TEXT:
        text = "A-1001"
    return text[: rule.size] if rule.size else text


def _text(rule):
    for name in (rule.path[-1] if rule.path else "", rule.key_path[-1].lower()):
        for word, text in _BY_WORD:
            if word in name:
                return text
    return ANY_TEXT


def _read(plan, plans, list_lines, depth):
    payload = {}
    for rule in plan.readable:
        if rule.value_type == "constant":
            found = rule.constant
        elif rule.is_relational:
            nested = plans[rule.mapping_config_id]
            if rule.nested_format == "identifier":
                found = value(nested.identifier) if nested.identifier else 1
            elif depth:
                found = _read(nested, plans, list_lines, depth - 1)
            else:
                continue
            found = [found] if rule.is_x2many else found
        elif not rule.path and not rule.read_script:
            continue
        else:
            found = value(rule)
        if rule.line_id in list_lines and not isinstance(found, list):
            found = [found]
        _put(payload, rule.key_path, found)
    return payload


def _write(plan, plans, depth, with_identifier):
    payload = {}
    for rule in plan.writable:
        if rule.value_type == "constant" or (
            rule.is_identifier and not with_identifier
        ):
            continue
        if not rule.is_relational:
            _put(payload, rule.key_path, value(rule))
            continue
        nested = plans[rule.mapping_config_id]
        if nested.identifier and rule.field_type != "one2many":
            found = value(nested.identifier)
        elif depth:
            found = _write(nested, plans, depth - 1, with_identifier=True)
        else:
            continue
        _put(payload, rule.key_path, [found] if rule.is_x2many else found)
    return payload


def _put(payload, key_path, found):
    *parents, last = key_path
    for step in parents:
        payload = payload.setdefault(step, {})
    payload[last] = found
