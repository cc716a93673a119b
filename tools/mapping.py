"""Payloads along a plan: external keys on one side, one value per line on the other.

Example, with the external keys ``name`` and ``address.city``::

    {"name": "Deco", "address": {"city": "Lviv"}}  <->  ["Deco", "Lviv"]
"""

import re

ABSENT = type("Absent", (), {"__repr__": lambda self: "ABSENT", "__slots__": ()})()
_SEPARATOR = re.compile(r"(?<!\\)\.")


def split_key(api_key):
    r"""Return the steps of an external key; ``\.`` is a dot inside a step.

    >>> split_key(r"address.geo\.lat")
    ('address', 'geo.lat')

    :raise ValueError: an empty step
    """
    steps = tuple(step.replace("\\.", ".") for step in _SEPARATOR.split(api_key))
    if not all(step.strip() for step in steps):
        raise ValueError(f'External API Key "{api_key}" has an empty part')
    return steps


def take(row, key_path):
    """Return the value at ``key_path`` of a payload, or ``ABSENT``.

    ``null`` in place of an inner object reads as an object whose keys are all null, so
    that ``{"address": null}`` clears what ``address.city`` maps.
    """
    value = row
    for step in key_path:
        if value is None:
            return None
        if not isinstance(value, dict) or step not in value:
            return ABSENT
        value = value[step]
    return value


def unknown_keys(row, rules):
    """Return the external keys of a payload that no rule maps, sorted."""
    known = {}
    for rule in rules:
        node = known
        for step in rule.key_path:
            node = node.setdefault(step, {})
    found = []

    def walk(value, node, trail):
        for key, inner in value.items():
            path = (*trail, key)
            if key not in node:
                found.append(".".join(path))
            elif node[key] and isinstance(inner, dict):
                walk(inner, node[key], path)

    walk(row, known, ())
    return sorted(found)


def misshapen_keys(row, rules):
    """Return ``{external key: type found}`` where an inner object should be and is not.

    With ``address.city`` mapped, ``{"address": "Lviv"}`` gives ``{"address": "Lviv"}``.
    """
    found = {}
    for rule in rules:
        value = row
        for depth, step in enumerate(rule.key_path[:-1], 1):
            value = value.get(step)
            if value is None:
                break
            if not isinstance(value, dict):
                found[".".join(rule.key_path[:depth])] = value
                break
    return found


def count_related(plan, row, get_plan):
    """Return how many records the lists and objects inside a payload are about.

    All levels count. A single value that names a record does not: it costs no more than
    any other value of its row.

    :param get_plan: function of the id of a mapping model
    """
    total = 0
    for rule in plan.writable if isinstance(row, dict) else ():
        if not (rule.is_relational or rule.is_x2many):
            continue
        value = take(row, rule.key_path)
        items = value if isinstance(value, list) else [value]
        objects = [item for item in items if isinstance(item, dict)]
        total += len(items) if isinstance(value, list) else len(objects)
        if objects and rule.is_relational:
            nested = get_plan(rule.mapping_config_id)
            total += sum(count_related(nested, item, get_plan) for item in objects)
    return total


def assemble(key_paths, columns, count):
    """Return ``count`` payloads from one column of values per key path.

    :param list key_paths: steps of each external key, in the order of the answer
    :param list columns: per key path, a list of ``count`` JSON values; ``ABSENT`` leaves
        the key out
    """
    if all(len(path) == 1 for path in key_paths) and not any(
        value is ABSENT for column in columns for value in column
    ):
        keys = [path[0] for path in key_paths]
        return [
            dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True)
        ] or [{} for _ in range(count)]
    payloads = [{} for _ in range(count)]
    for path, column in zip(key_paths, columns, strict=True):
        *parents, last = path
        for payload, value in zip(payloads, column, strict=True):
            if value is ABSENT:
                continue
            for step in parents:
                payload = payload.setdefault(step, {})
            payload[last] = value
    return payloads


def take_path(value, path):
    """Return what ``data.items`` leads to in an answer, or ``ABSENT``.

    Digits pick from a list: ``items.0.id``.
    """
    for step in split_key(path) if path else ():
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            return ABSENT
    return value
