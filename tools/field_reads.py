"""Which fields a script may read: for rules that are to fire when one of them changes.

Found in the text, so it is an estimate: names of anything that might be a record are
given, and what is put together while the script runs is not. The caller keeps those that
its model has.
"""

import ast
import functools

# Methods of records whose texts are paths or names of fields.
PATH_METHODS = (
    "fetch",
    "filtered",
    "filtered_domain",
    "grouped",
    "mapped",
    "read",
    "search_fetch",
    "sorted",
)
# Variables that are no records, whatever stands in brackets behind them.
PLAIN_VARIABLES = ("headers", "params", "request_data", "response_data")


@functools.lru_cache(maxsize=256)
def of_script(source):
    """Return the names that a script may read of records; first steps of paths.

    :param source: its text, expression or statements; one that cannot be parsed reads
        nothing
    """
    try:
        tree = ast.parse((source or "").strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()
    return frozenset(name for node in ast.walk(tree) for name in _names(node) if name)


def of_domain(domain):
    """Return the first step of the path in each term of a domain."""
    return {
        term[0].split(".")[0]
        for term in domain
        if isinstance(term, list | tuple) and term and isinstance(term[0], str)
    }


def _names(node):
    if isinstance(node, ast.Attribute):
        return (node.attr,)
    if isinstance(node, ast.Subscript):
        is_name = _is_text(node.slice) and not _is_plain(node.value)
        return (_first(node.slice.value),) if is_name else ()
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in PATH_METHODS:
        parts = [*node.args, *(keyword.value for keyword in node.keywords)]
        return [
            _first(path)
            for part in parts
            for inner in ast.walk(part)
            if _is_text(inner)
            for path in inner.value.split(",")
        ]
    return ()


def _first(path):
    """Return the first step of a path, which an order may stand behind."""
    return path.strip().split(" ")[0].split(".")[0]


def _is_text(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_plain(node):
    while isinstance(node, ast.Subscript | ast.Attribute | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return not isinstance(node, ast.Name) or node.id in PLAIN_VARIABLES
