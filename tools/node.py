"""The rows of a write on their way to records, what they name, and what is wrong.

A payload is a tree of objects; the records behind it are a graph, because two rows may
name the same new tag, and a row may name another row as its parent.
"""

from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Any

from .message import Plan, Rule


@dataclass(eq=False)
class Node:
    """One payload object on its way to one record, found or to be made.

    - ``index`` is the row of the call, ``trail`` the place in that row (``lines[0].``,
      empty for the row itself) and ``rule`` the line of the mapping that leads there;
    - ``lookup_only``: the payload has the identifier's value in place of an object;
    - ``is_line``: a line of a one2many field, which is saved with its parent;
    - ``identifier`` is the value as the field has it, ``None`` for none;
    - ``record`` is ``None`` until the record is found or made;
    - ``vals`` and ``links`` are what to write: own values and related objects;
    - ``twins`` are the other places of the payload that mean the same record;
    - ``status`` is that of :class:`~.message.RowResult`, once saved.
    """

    plan: Plan
    row: dict
    index: int
    trail: str = ""
    rule: Rule | None = None
    lookup_only: bool = False
    is_line: bool = False
    may_create: bool = True
    identifier: Any = None
    record: Any = None
    vals: dict = field(default_factory=dict)
    links: list = field(default_factory=list)
    twins: list = field(default_factory=list)
    has_error: bool = False
    status: str = ""

    @property
    def is_row(self):
        return not self.trail

    @property
    def is_missing(self):
        """There is no such record, and none may be made."""
        return self.record is None and not self.may_create

    def absorb(self, twin):
        """Take over what another place says about the same record.

        A row of the call wins over what is said inside other rows; else the later wins.
        """
        self.twins.append(twin)
        self.may_create |= twin.may_create
        if twin.plan.config_id != self.plan.config_id:
            return  # it names the record in its own words, and says no more
        if self.is_row:
            self.row = {**twin.row, **self.row}
            self.links = [*twin.links, *self.links]
        else:
            self.row = {**self.row, **twin.row}
            self.links = [*self.links, *twin.links]

    def walk(self):
        """Yield this node and those of the objects inside, all levels."""
        yield self
        for links in self.links:
            for node in links.nodes:
                yield from node.walk()

    def references(self):
        """Yield the nodes whose records must be there before this one is saved."""
        for links in self.links:
            for node in links.nodes:
                if node.is_line:
                    yield from node.references()
                else:
                    yield node


@dataclass(eq=False)
class Links:
    """The related objects of one node under one line of the mapping.

    ``mode`` is ``one`` (many2one), ``merge``, ``replace`` or ``append``; ``lines`` are
    ``{id: record}`` of the lines that a one2many field has now, ``archived`` the ids of
    those among them that it does not show. ``foreign`` are the ids of the records in any
    other relation that lie outside the Filter Domain of the mapping model, and stay there.
    """

    rule: Rule
    mode: str
    nodes: list
    lines: dict = field(default_factory=dict)
    archived: frozenset = frozenset()
    foreign: frozenset = frozenset()

    @property
    def remove(self):
        """The ids of the lines that are no longer wanted.

        Not of archived ones: who sends the list has never seen them.
        """
        if self.mode != "replace":
            return []
        kept = {node.record.id for node in self.nodes if node.record}
        return [i for i in self.lines if i not in kept and i not in self.archived]


class Errors:
    """What is wrong with the rows of one call, in the order it is found.

    ``by_index`` is ``{row: [(HTTP status, error)]}``, an error being one of
    :class:`~..exceptions.PayloadError`; ``causes`` is ``{row: exception}`` of the first
    script that failed, for its traceback.
    """

    def __init__(self):
        self.by_index = {}
        self.causes = {}

    def add(self, node, rule, message, *, code=400, key=None, cause=None):
        """Note ``message`` at every place that means the node's record.

        Not at those that mean a row of the call: they say "a row" and not what is in it.

        :param Rule rule: the line whose key is wrong; ``None``: the object itself
        :param str key: the key below the object, if no line maps it
        """
        for place in (node, *(() if node.is_row else node.twins)):
            place.has_error = True
            name = key or (rule.api_key if rule else "")
            if place.lookup_only and rule is place.plan.identifier:
                name = ""  # the payload has the value itself there
            error = {"index": place.index}
            if where := f"{place.trail}{name}".rstrip("."):
                error["key"] = where
            if line := rule or place.rule:
                error["line_id"] = line.line_id
            error["message"] = f"{where}: {message}" if where else message
            self.by_index.setdefault(place.index, []).append((code, error))
            if cause:
                self.causes.setdefault(place.index, cause)


def layers(nodes):
    """Return lists of nodes in the order to save them: what others refer to first.

    Each node comes as late as it can, so that rows which name nothing are saved
    together with those that do. A record that exists holds nobody up, its id is known.

    :raise graphlib.CycleError: ``args[1]`` are new records that need each other
    """
    graph = TopologicalSorter()
    found = dict.fromkeys(nodes)
    for node in found:
        graph.add(node)
    todo = list(found)
    while todo:
        node = todo.pop()
        for other in node.references():
            graph.add(other, *([node] if other.record is None else ()))
            if other not in found:
                found[other] = None
                todo.append(other)
    graph.prepare()
    ordered = []
    while graph.is_active():
        ready = graph.get_ready()
        ordered.append(sorted(ready, key=lambda node: node.is_row))
        graph.done(*ready)
    return ordered[::-1]


def by_plan(nodes):
    """Return ``[(plan, nodes)]``: the nodes of each mapping, in their order."""
    groups = {}
    for node in nodes:
        groups.setdefault(node.plan.config_id, (node.plan, []))[1].append(node)
    return list(groups.values())
