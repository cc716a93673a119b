"""Query string of a list request to a domain, a page, an order and a choice of keys.

Only names that the configuration offers reach the domain, each value typed by its field.
Anything else is a ``BadRequest`` that says what is allowed. A ``domain`` of the client is
parsed as a literal and never evaluated.
"""

import ast
import csv
import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..exceptions import BadRequest

RESERVED = (
    "limit",
    "offset",
    "order",
    "fields",
    "domain",
    "cursor",
    "count",
    "partial",
    "dry_run",
)
MAX_PAIRS = 100
MAX_OFFSET_DIGITS = 12
MAX_DOMAIN_LENGTH = 8000
MAX_LITERAL_DEPTH = 8
MAX_DOMAIN_TERMS = 50
MAX_DOMAIN_DEPTH = 5

#: ``{suffix of key__op: operator of the domain}``
SUFFIXES = {
    "eq": "=",
    "ne": "!=",
    "gt": ">",
    "gte": ">=",
    "lt": "<",
    "lte": "<=",
    "in": "in",
    "nin": "not in",
    "like": "like",
    "ilike": "ilike",
    "startswith": "=like",
    "isnull": "isnull",
}

_EQUAL = ("=", "!=")
_LIST = ("in", "not in")
_ORDER = (">", ">=", "<", "<=")
_CONTAINS = ("like", "not like", "ilike", "not ilike")
_LIKE = (*_CONTAINS, "=like", "=ilike")
_ANY = (*_EQUAL, *_LIST, *_ORDER, *_LIKE, "isnull")
_NUMBER = (*_EQUAL, *_LIST, *_ORDER)
_MOMENT = (*_NUMBER, "isnull")
_RELATION = (*_EQUAL, *_LIST, *_CONTAINS, "isnull")
_CHOICE = (*_EQUAL, *_LIST, *_LIKE, "isnull")

#: What a client may ask of a field, by type. Numbers and booleans are never empty in the
#: ORM (NULL reads as 0 or false), so ``isnull`` would only mislead.
OPERATORS = {
    "char": _ANY,
    "text": _ANY,
    "html": _CHOICE,
    "integer": _NUMBER,
    "float": _NUMBER,
    "monetary": _NUMBER,
    "boolean": (*_EQUAL, *_LIST),
    "date": _MOMENT,
    "datetime": _MOMENT,
    "selection": _CHOICE,
    "reference": _CHOICE,
    "many2one": _RELATION,
    "one2many": _RELATION,
    "many2many": _RELATION,
    "many2one_reference": (*_EQUAL, *_LIST),
}
_ONLY_EMPTY = (*_EQUAL, "isnull")  # binary, json, properties
_MAY_BE_BLANK = ("char", "text", "html")

_OPPOSITE = {
    "=": "!=",
    "in": "not in",
    "like": "not like",
    "ilike": "not ilike",
}
_OPPOSITE.update({negative: positive for positive, negative in _OPPOSITE.items()})
_NEGATIVE = ("!=", "not in", "not like", "not ilike")
_DIGITS = re.compile(r"[0-9]+")
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
# Literals of JSON and of Python, one token at a time: no name, call or operator passes.
_LITERAL = re.compile(
    r"""\s*(?:
      "(?:[^"\\\x00-\x1f]|\\["'\\/bfnrt]|\\u[0-9a-fA-F]{4})*"
    | '(?:[^'\\\x00-\x1f]|\\["'\\/bfnrt]|\\u[0-9a-fA-F]{4})*'
    | -?[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,2})?
    | (?:true|false|null|True|False|None)\b
    | [\[\](),]
    )\s*""",
    re.VERBOSE,
)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True)
class FilterField:
    """A field that may be filtered by: ``name`` is what the client calls it.

    ``path`` is the field path of the domain. ``nullable`` is false only for a column
    that cannot be NULL, as ``id``. Where the path leads through relations, ``is_single``
    is false if one of them is a list, and ``guard`` is the domain of the records at its
    end that are shown; ``mapping_id`` is the mapping model whose Filter Domain it is.
    """

    name: str
    path: str
    field_type: str
    selection: tuple[str, ...] = ()
    nullable: bool = True
    is_single: bool = True
    mapping_id: int = 0
    guard: tuple = ()

    @property
    def operators(self):
        return OPERATORS.get(self.field_type, _ONLY_EMPTY)

    @property
    def suffixes(self):
        if self.operators is _ONLY_EMPTY:
            return ("isnull",)  # "=" only serves ["image", "=", false] of a domain
        return tuple(key for key, value in SUFFIXES.items() if value in self.operators)


#: Offered by every endpoint; ``active`` besides, on models that have it.
STANDARD_FIELDS = {
    "id": FilterField("id", "id", "integer", nullable=False),
    "create_date": FilterField("create_date", "create_date", "datetime"),
    "write_date": FilterField("write_date", "write_date", "datetime"),
}


@dataclass(frozen=True)
class ParamRule:
    """A Parameter of the configuration: ``?name=value`` adds (path, operator, value).

    ``value`` is applied when the caller sends none; empty means no such default.
    """

    name: str
    path: str
    operator: str
    field_type: str
    value: str = ""
    selection: tuple[str, ...] = ()


@dataclass(frozen=True)
class Paging:
    """Rows of a page: when the caller says nothing, and at most."""

    limit: int = 100
    max_limit: int = 1000


@dataclass(frozen=True)
class OrderTerm:
    """One column of the order, as PostgreSQL sorts it: NULLs after all else, or before
    all else when ``descending``."""

    field: str
    descending: bool = False
    field_type: str = "integer"
    nullable: bool = True

    def __str__(self):
        return f"{self.field} desc" if self.descending else self.field


@dataclass(frozen=True)
class Flags:
    """What a write may ask for in its query string."""

    partial: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class ListQuery:
    """A list request, understood.

    ``order`` ends in ``id``; it is empty when the caller asked for none, and a cursor
    then goes by ``id``. ``cursor`` is ``None`` without one and ``""`` for the first page
    of a walk. ``fields`` is ``None`` for all keys.
    """

    domain: list
    limit: int
    offset: int = 0
    order: str = ""
    order_terms: tuple[OrderTerm, ...] = ()
    cursor: str | None = None
    count: bool = True
    fields: tuple[str, ...] | None = None
    flags: Flags = Flags()


# --------------------------------------------------------------------- the query string


def parse(query, fields, params, keys, orders, defaults, cast):
    """Return the :class:`ListQuery` of a query string.

    :param query: ``(name, value)`` pairs, in order, repetitions included
    :param dict fields: ``{name: FilterField}``, by external key and by field name
    :param params: the ``ParamRule`` of the configuration
    :param keys: top-level external keys that ``fields=`` may choose from
    :param dict orders: ``{name: field name}`` that ``order=`` may name
    :param Paging defaults: rows of a page
    :param cast: ``function(field, operator, value)`` that types one value and raises
        ``ValueError``, which is ``convert.to_domain_value``
    :raise BadRequest: naming what is wrong and what is allowed
    """
    if len(query) > MAX_PAIRS:
        raise BadRequest(f"More than {MAX_PAIRS} query parameters: send fewer.")
    options, filters = {}, {}
    for name, value in query:
        if _UNSTORABLE.search(value):
            raise _bad(name, f"{name} holds a NUL, which no text can.")
        if name not in RESERVED:
            filters.setdefault(name, []).append(value)
        elif name in options:
            raise _bad(name, f"{name} is given twice: send it once.")
        else:
            options[name] = value
    domain = _filters_domain(filters, params, fields, cast)
    if "domain" in options:
        domain += parse_domain(options["domain"], fields, cast)
    cursor = options.get("cursor")
    order_terms = _order_terms(options.get("order"), orders, fields, cursor is not None)
    if cursor is not None and "offset" in options:
        raise _bad("offset", "offset and cursor exclude each other: send one of them.")
    return ListQuery(
        domain=domain,
        limit=min(
            _whole(options, "limit", defaults.limit, at_least=1), defaults.max_limit
        ),
        offset=_whole(options, "offset", 0, at_least=0),
        order=", ".join(map(str, order_terms)),
        order_terms=order_terms,
        cursor=cursor,
        count=_count(options.get("count", "exact")),
        fields=_keys(options.get("fields"), keys),
        flags=Flags(_flag(options, "partial"), _flag(options, "dry_run")),
    )


def _filters_domain(filters, params, fields, cast):
    """Return the domain of ``{name: values}``, and of Parameters that stand by default."""
    domain = []
    rules = {}
    for param in params:
        rules.setdefault(param.name, []).append(param)
    for name, values in filters.items():
        if name in rules:
            for param in rules[name]:
                domain += _param_domain(param, values, cast)
        else:
            domain += _filter_domain(name, values, fields, rules, cast)
    for name, defaulted in rules.items():
        for param in defaulted:
            if name not in filters and param.value:
                domain += _param_domain(param, [param.value], cast)
    return domain


def parse_flags(query):
    """Return the :class:`Flags` of a write; any other query parameter is refused."""
    options = {}
    for name, value in query:
        if name not in ("partial", "dry_run"):
            raise _unknown("query parameter", name, ("dry_run", "partial"))
        if name in options:
            raise _bad(name, f"{name} is given twice: send it once.")
        options[name] = value
    return Flags(_flag(options, "partial"), _flag(options, "dry_run"))


def _whole(options, name, default, at_least):
    if name not in options:
        return default
    text = options[name]
    if (
        not _DIGITS.fullmatch(text)
        or len(text) > MAX_OFFSET_DIGITS
        or int(text) < at_least
    ):
        raise _bad(
            name,
            f"{name} must be a whole number of at least {at_least}, got {_show(text)}.",
        )
    return int(text)


def _flag(options, name):
    text = options.get(name, "false")
    if text.lower() not in _FLAGS:
        raise _bad(name, f"{name} must be true or false, got {_show(text)}.")
    return _FLAGS[text.lower()]


def _count(text):
    if text not in ("exact", "none"):
        raise _bad("count", f"count must be exact or none, got {_show(text)}.")
    return text == "exact"


def _keys(text, keys):
    if text is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in keys:
            raise _unknown("key in fields", name, keys)
    return names


def _order_terms(text, orders, fields, for_cursor):
    terms = []
    for part in (text or "").split(",") if text is not None else ():
        words = part.split()
        if words and words[0][0] in "+-" and words[0][1:] in orders:
            key, way = words[0][1:], "desc" if words[0][0] == "-" else "asc"
            raise _bad(
                "order", f"order takes {_show(f'{key} {way}')}, not {_show(part)}."
            )
        if not words or words[0] not in orders:
            raise _unknown("key in order", part.strip(), orders)
        direction = [word.lower() for word in words[1:]]
        if direction not in ([], ["asc"], ["desc"]):
            raise _bad(
                "order", f"order takes asc or desc after a key, got {_show(part)}."
            )
        name, field_name = words[0], orders[words[0]]
        if any(term.field == field_name for term in terms):
            raise _bad("order", f"order names {_show(name)} twice: once is enough.")
        known = fields.get(name) or next(
            (item for item in fields.values() if item.path == field_name), None
        )
        is_id = field_name == "id"
        terms.append(
            OrderTerm(
                field_name,
                descending=direction == ["desc"],
                field_type=known.field_type
                if known
                else "integer"
                if is_id
                else "char",
                nullable=not is_id and (known.nullable if known else True),
            )
        )
        if is_id:
            break  # what comes after a unique column sorts nothing
    if for_cursor:
        for term in terms:
            if term.field_type in ("many2one", "one2many", "many2many"):
                # The ORM sorts a relation by columns of another table.
                raise _bad("order", f"order by {term.field} cannot have a cursor.")
    if (terms or for_cursor) and not (terms and terms[-1].field == "id"):
        terms.append(OrderTerm("id", nullable=False))
    return tuple(terms)


# --------------------------------------------------------------------------- filters


def _filter_domain(name, values, fields, rules, cast):
    field, suffix = fields.get(name), "eq"
    if field is None:
        base, separator, suffix = name.rpartition("__")
        field = fields.get(base) if separator else None
        if field is None:
            raise _unknown("query parameter", name, (*RESERVED, *rules, *fields))
    operator = SUFFIXES.get(suffix)
    if suffix not in field.suffixes:
        allowed = field.suffixes
        raise _bad(
            name,
            f"{_show(suffix)} is no operator for {field.name}."
            f" Allowed: {', '.join(f'{field.name}__{key}' for key in allowed)}.",
            allowed=list(allowed),
        )
    if operator == "isnull":
        domain = []
        for value in values:
            operator = "=" if _flag({name: value}, name) else "!="
            domain += _nested(
                field, operator, False, lambda path, sign: [(path, sign, False)]
            )
        return domain
    if suffix == "startswith":
        values = [_escape_like(value) + "%" for value in values]
    return _domain(name, field, operator, values, cast)


def _nested(field, operator, value, make_terms):
    """Return the domain of one filter, in prefix notation.

    A related record that does not exist, that record rules hide or that lies outside the
    Filter Domain of its mapping model reads ``null``. So all three are found alike, and
    no filter tells one from another.

    :param FilterField field: whose ``path`` may lead through relations
    :param value: typed by the field
    :param make_terms: function of a path and an operator: the domain of a mere column
    """
    *heads, last = field.path.split(".")
    if not heads:
        return make_terms(last, operator)
    if not _takes_null(field, operator, value):
        return _through(heads, "any", [*make_terms(last, operator), *field.guard])
    if field.is_single:
        # None that is visible, inside the domain, and has another value than null.
        inner = [*make_terms(last, _OPPOSITE[operator]), *field.guard]
        return _through(heads, "not any", inner)
    # One of a list has it, or the list that is shown is empty.
    some = _through(heads, "any", [*make_terms(last, operator), *field.guard])
    shown = list(field.guard) or [(1, "=", 1)]
    return ["|", *_through(heads, "not any", shown), *some]


def _takes_null(field, operator, value):
    """Tell whether a filter finds rows that show ``null``."""
    is_negative = operator in _NEGATIVE
    if field.field_type == "boolean":
        return is_negative
    values = value if isinstance(value, list | tuple) else [value]
    return is_negative != any(item is None or item is False for item in values)


def _through(heads, operator, inner):
    """Return the domain of records whose path ``heads`` leads to some of ``inner``."""
    for name in reversed(heads[1:]):
        inner = [(name, "any", inner)]
    return [(heads[0], operator, inner)]


def _param_domain(param, values, cast):
    return _domain(param.name, param, param.operator, values, cast)


def _domain(name, field, operator, values, cast):
    """Return the domain of a name that was given once or several times.

    ``state=a&state=b`` means either, ``state__ne=a&state__ne=b`` means neither; other
    operators must all hold. ``in`` takes commas (``"a,b",c`` quoted as in CSV) and
    repetition.
    """
    if operator in _EQUAL and len(values) > 1:
        operator = "in" if operator == "=" else "not in"
    elif operator in _LIST:
        values = [item for value in values for item in split(value)]
    if field.field_type not in _MAY_BE_BLANK and "" in values:
        raise _bad(name, f"{name} has an empty value: send one or leave it out.")
    if operator in _LIST:
        values = [values]
    domain = []
    for value in values:
        domain += _typed(name, field, operator, value, cast)
    return domain


def _typed(name, field, operator, value, cast):
    try:
        value = cast(field, operator, value)
    except ValueError as error:
        raise _bad(name, f"{name}: {error}.") from error
    if isinstance(field, ParamRule):  # the administrator's own path
        return _terms(field.path, field.field_type, operator, value)
    return _nested(
        field,
        operator,
        value,
        lambda path, sign: _terms(path, field.field_type, sign, value),
    )


def split(text):
    try:
        rows = list(csv.reader([text], skipinitialspace=True, strict=True))
    except csv.Error:
        rows = [text.split(",")]
    return rows[0] if rows and rows[0] else [""]


def _escape_like(text):
    return re.sub(r"([\\%_])", r"\\\1", text)


def _terms(path, field_type, operator, value):
    """Return one domain expression in prefix notation, as a list.

    The API shows datetimes without the fraction that the database keeps, so equality
    means the whole second. ``>`` stays exact: a client that asks for what came after its
    last datetime may see a record again, but misses none.
    """
    if field_type == "datetime":
        if operator in _LIST:
            single = "=" if operator == "in" else "!="
            parts = [_terms(path, field_type, single, item) for item in value]
            if parts:
                return _join("|" if operator == "in" else "&", parts)
        elif value and not value.microsecond and value < datetime.max - _SECOND:
            end = value + _SECOND
            if operator == "=":
                return ["&", (path, ">=", value), (path, "<", end)]
            if operator == "!=":
                outside = (
                    [(path, "=", False)],
                    [(path, "<", value)],
                    [(path, ">=", end)],
                )
                return _join("|", outside)
            if operator == "<=":
                return [(path, "<", end)]
    return [(path, operator, value)]


_SECOND = timedelta(seconds=1)


def _join(operator, parts):
    """Return one expression of several; there must be one at least."""
    joined = [operator] * (len(parts) - 1)
    for part in parts:
        joined += part
    return joined


# ----------------------------------------------------------------------------- domain=


def parse_domain(text, fields, cast):
    """Return the Odoo domain of a client's JSON or Python literal.

    Lists, tuples, texts, numbers, booleans and null only; names of ``fields``, at most
    50 terms and 5 levels of alternating ``&``, ``|`` and ``!``.

    :raise BadRequest: saying where, or what is allowed
    """
    items = _literal(text)
    if not isinstance(items, list | tuple):
        raise _bad("domain", "domain must be a list of terms.")
    if sum(not isinstance(item, str) for item in items) > MAX_DOMAIN_TERMS:
        raise _bad("domain", f"domain has more than {MAX_DOMAIN_TERMS} terms.")
    _check_arity(items)
    domain = []
    for item in items:
        if isinstance(item, str):
            domain.append(item)
        else:
            domain += _domain_term(item, fields, cast)
    return domain


def _domain_term(item, fields, cast):
    if not isinstance(item, list | tuple) or len(item) != 3:
        raise _bad(
            "domain",
            'domain takes terms ["name", "operator", value] and "&", "|", "!",'
            f" got {_show(item)}.",
        )
    name, operator, value = item
    if not isinstance(name, str) or name not in fields:
        raise _unknown("name in domain", name, fields)
    field = fields[name]
    allowed = tuple(item for item in field.operators if item != "isnull")
    if operator not in allowed:
        raise _unknown(f"operator for {name} in domain", operator, allowed)
    return _typed(name, field, operator, value, cast)


def _check_arity(items):
    """Refuse operators without operands, and nesting that a reader could not follow."""
    stack = []  # (operator, levels below it), read from the right
    for item in reversed(items):
        if not isinstance(item, str):
            stack.append(("", 0))
        elif item not in ("&", "|", "!"):
            raise _bad(
                "domain",
                f'domain has {_show(item)} where "&", "|", "!" or a term'
                ' ["name", "operator", value] belongs.',
            )
        else:
            count = 1 if item == "!" else 2
            operands = stack[-count:]
            if len(operands) < count:
                raise _bad("domain", f"domain is unbalanced: {item} lacks an operand.")
            del stack[-count:]
            depth = max(level + (item != inner) for inner, level in operands)
            if depth > MAX_DOMAIN_DEPTH:
                raise _bad(
                    "domain", f"domain is nested over {MAX_DOMAIN_DEPTH} levels."
                )
            stack.append((item, depth))


def _literal(text):
    if len(text) > MAX_DOMAIN_LENGTH:
        raise _bad("domain", f"domain is longer than {MAX_DOMAIN_LENGTH} characters.")
    position = depth = 0
    while position < len(text):
        token = _LITERAL.match(text, position)
        if token is None:
            raise _not_literal(text, position)
        found = token[0].strip()
        depth += (found in ("[", "(")) - (found in ("]", ")"))
        if depth > MAX_LITERAL_DEPTH or _UNSTORABLE.search(found):
            raise _not_literal(text, position)
        position = token.end()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = _python_literal(text)
    if _has_unstorable(value):
        raise _not_literal(text, 0)
    return value


def _python_literal(text):
    # Only tokens of literals are left in the text, so this parses and runs nothing.
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        position = (getattr(error, "offset", None) or 1) - 1
        raise _not_literal(text, position) from error
    return _node_value(tree.body, text)


def _node_value(node, text):
    if isinstance(node, ast.List):
        return [_node_value(item, text) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_node_value(item, text) for item in node.elts)
    if isinstance(node, ast.Constant) and not isinstance(node.value, bytes | complex):
        return node.value
    if (
        isinstance(node, ast.UnaryOp)
        and isinstance(node.op, ast.USub)
        and isinstance(node.operand, ast.Constant)
        and type(node.operand.value) in (int, float)
    ):
        return -node.operand.value
    raise _not_literal(text, getattr(node, "col_offset", 0))


def _has_unstorable(value):
    if isinstance(value, str):
        return bool(_UNSTORABLE.search(value))
    return isinstance(value, list | tuple) and any(map(_has_unstorable, value))


def _not_literal(text, position):
    near = text[position : position + 20]
    return _bad(
        "domain",
        f"domain is not a JSON or Python literal at position {position + 1}"
        + (f", near {_show(near)}" if near else "")
        + ': send a list such as [["name", "=", "x"]], without names, calls or sums.',
    )


# ----------------------------------------------------------------------------- errors


def _bad(name, message, **details):
    return BadRequest(message, details={"key": name, **details})


def _unknown(what, got, allowed):
    allowed = sorted(set(allowed))
    listed = ", ".join(allowed) or "none"
    return BadRequest(
        f"Unknown {what}: {_show(got)}. Allowed: {listed}.",
        details={"key": got if isinstance(got, str) else "", "allowed": allowed},
    )


def _show(value):
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:60] + "…"
