from odoo import api, models

from ..exceptions import ApiError
from ..tools import convert, mapping
from ..tools.node import Links, Node, by_plan
from .bj_api_sync_phrase import translate
from .bj_api_sync_script import NOTHING

MAX_DEPTH = 8  # levels of objects below a row
SCRIPTED = ("python_plain", "python_relational")
EMPTY = (None, False)  # 0 among them: an integer field cannot tell it from not set


class BjApiSyncRelation(models.AbstractModel):
    """From the objects and values of a payload to the records that they name.

    Works level by level: however many rows there are, a level costs one search per
    mapping model, and one per one2many field for the lines that are there.
    """

    _name = "bj.api.sync.relation"
    _description = "API Relations"

    @api.model
    def _expand(self, nodes, call, errors):
        """Make a node of every object inside ``nodes``, and find its record.

        :return: ``nodes`` and those inside them; places that mean one record are one
        """
        found, level = list(nodes), nodes
        for _depth in range(MAX_DEPTH):
            all_links = self._make_links(level, errors)
            level = [node for links in all_links for node in links.nodes]
            if not level:
                break
            self._identify(all_links, call, errors)
            found += level
        for links in self._make_links(level, errors) if level else ():
            for node in links.nodes:
                message = self.env._("nested deeper than %s levels.", MAX_DEPTH)
                errors.add(node, None, message)
        found = self._merge_twins(found)
        self._refuse_missing(found, errors)
        return found

    # -- the objects of a payload ----------------------------------------------------

    @api.model
    def _make_links(self, nodes, errors):
        """Return the new :class:`Links` of nodes, whose own nodes are not found yet."""
        pairs = []
        for plan, group in by_plan(nodes):
            for rule in plan.writable:
                if not rule.is_relational:
                    continue
                for node in group:
                    raw = mapping.take(node.row, rule.key_path)
                    if raw is mapping.ABSENT:
                        continue
                    links = self._make_node_links(rule, node, raw, errors)
                    if links:
                        node.links.append(links)
                        pairs.append((node, links))
        self._note_present(pairs)
        return [links for _node, links in pairs]

    @api.model
    def _make_node_links(self, rule, node, raw, errors):
        plan = self.env["bj.api.sync.config"]._get_plan(rule.mapping_config_id)
        if not rule.is_x2many:
            items = [] if raw is None else [raw]
            children = self._make_children(rule, plan, node, items, errors)
            return Links(rule, "one", children)
        if raw is None:
            return Links(rule, "replace", [])  # null clears, whatever the mode
        if not isinstance(raw, list):
            got = convert.describe(raw)
            self._add_mismatch(node, rule, self.env._("an array"), got, errors)
            return None
        mode = rule.x2many_mode
        if not mode:
            mergeable = rule.field_type == "one2many" and plan.identifier
            mode = "merge" if mergeable else "replace"
        return Links(rule, mode, self._make_children(rule, plan, node, raw, errors))

    @api.model
    def _make_children(self, rule, plan, parent, items, errors):
        """Return a node per object, or per value that names a record."""
        is_line = rule.field_type == "one2many"
        children = []
        for position, item in enumerate(items):
            suffix = f"[{position}]" if rule.is_x2many else ""
            child = Node(
                plan,
                item,
                parent.index,
                trail=f"{parent.trail}{rule.api_key}{suffix}.",
                rule=rule,
                is_line=is_line,
                may_create=is_line or rule.create_missing,
            )
            if isinstance(item, dict):
                children.append(child)
            elif not (plan.identifier or isinstance(item, list) or item is None):
                message = self.env._(
                    "expected an object, got %(got)s: no line of mapping model %(mapping)s "
                    "is marked as the record identifier that it could be.",
                    got=translate(self.env, convert.describe(item)),
                    mapping=plan.name,
                )
                errors.add(child, None, message)
            elif isinstance(item, list) or item is None:
                expected = (
                    self.env._("a value or an object")
                    if plan.identifier
                    else self.env._("an object")
                )
                got = convert.describe(item)
                self._add_mismatch(child, None, expected, got, errors)
            else:
                path = plan.identifier.key_path
                [child.row] = mapping.assemble([path], [[item]], 1)
                child.lookup_only = True
                child.may_create = rule.create_missing
                children.append(child)
        return children

    @api.model
    def _add_mismatch(self, node, rule, expected, got, errors):
        message = self.env._(
            "expected %(expected)s, got %(got)s.",
            expected=translate(self.env, expected),
            got=translate(self.env, got),
        )
        errors.add(node, rule, message)

    # -- the records that they name --------------------------------------------------

    @api.model
    def _identify(self, all_links, call, errors):
        """Find the records of the nodes of one level."""
        for links in all_links:
            for node in links.nodes:
                node.identifier = self._get_identifier(node, call, errors)
                rule = node.plan.identifier
                if rule and rule.field_path == "id" and has_identifier(node):
                    node.may_create = False  # nobody chooses an id
        self._match_lines(all_links, errors)
        # An object of a one2many list is one of its parent's lines or a new one; only a
        # mere value may name a line of another parent, which then moves here.
        named = [
            node
            for links in all_links
            for node in links.nodes
            if (not node.is_line or node.lookup_only) and not node.record
        ]
        for plan, nodes in by_plan(named):
            if plan.identifier:
                self._find_named(plan, nodes, errors)

    @api.model
    def _get_identifier(self, node, call, errors):
        """Return the identifier's value as the field has it, ``None`` without one."""
        rule = node.plan.identifier
        if rule is None or not concerns(rule, node):
            return None
        if rule.value_type == "python_plain" and rule.script:
            try:
                value = self.env["bj.api.sync.config.line"]._run_script(
                    rule, rule.script, node.record, call, node.row
                )
            except ApiError as error:
                errors.add(node, rule, error.description, cause=error)
                return None
        else:
            value = mapping.take(node.row, rule.key_path)
        if value in (mapping.ABSENT, NOTHING, None, False, ""):
            return None
        try:
            return convert.to_field(rule, value)
        except convert.ConvertError as error:
            self._add_mismatch(node, rule, error.expected, error.got, errors)
            return None

    @api.model
    def _search_named(self, plan, values):
        """Return ``{identifier: records}`` within the user's rules, archived ones too."""
        values = list(dict.fromkeys(v for v in values if v not in EMPTY))
        if not values:
            return {}
        name = plan.identifier.field_path
        model = self.env[plan.model].with_context(active_test=False)
        records = model.search_fetch([(name, "in", values)], [name])
        # From the cache: read() would apply the rules once more to what they have let in.
        column = self.env["bj.api.sync.reader"]._get_column(records, name)
        found = {}
        for record_id, value in column.items():
            found.setdefault(value, []).append(record_id)
        # One prefetch for all, so that comparing them later reads them together.
        prefetch = self.env[plan.model].browse(records._ids)._prefetch_ids
        return {
            value: self.env[plan.model].browse(ids).with_prefetch(prefetch)
            for value, ids in found.items()
        }

    @api.model
    def _find_named(self, plan, nodes, errors):
        rule = plan.identifier
        found = self._search_named(plan, [node.identifier for node in nodes])
        inside = self._get_inside(plan, found.values())
        for node in nodes:
            records = found.get(node.identifier)
            if not records:
                continue
            if inside is not None and not inside.issuperset(records._ids):
                # It may not be used here, and to create it would make a twin.
                message = self.env._(
                    "%(value)s is outside the Filter Domain of %(mapping)s.",
                    value=convert.describe(node.identifier),
                    mapping=plan.name,
                )
                errors.add(node, rule, message)
            elif len(records) > 1:
                errors.add(node, rule, self._twins_message(node, len(records)))
            node.record = records[:1]

    @api.model
    def _get_inside(self, plan, groups):
        """Return the ids inside the mapping model's Filter Domain, ``None`` for all."""
        ids = [record_id for records in groups for record_id in records._ids]
        domain = self._get_domain(plan) if ids else []
        if not domain:
            return None
        model = self.env[plan.model].with_context(active_test=False)
        return set(model.search([("id", "in", ids), *domain])._ids)

    @api.model
    def _get_domain(self, plan):
        """Return the Filter Domain of a mapping model: what lies outside is not there."""
        if not has_domain(plan):
            return []
        return self.env["bj.api.sync.script"]._eval_domain_text(
            plan.filter_domain, self.env.user, self.env.company.id
        )

    @api.model
    def _twins_message(self, node, count):
        return self.env._(
            "%(count)s records are known as %(value)s; it must name one.",
            count=count,
            value=convert.describe(node.identifier),
        )

    @api.model
    def _merge_twins(self, nodes):
        """Make places that mean the same record one node; return the nodes that are left.

        Objects come before mere names, so that a name may mean what an object of another
        row creates. Lines of a list are only known within their parent.
        """
        main, instead = {}, {}
        for node in sorted(nodes, key=is_name):
            if node.is_line or not has_identifier(node) or node.has_error:
                continue
            rule = node.plan.identifier
            key = (node.plan.model, rule.field_path, node.identifier)
            first = main.setdefault(key, node)
            is_same = first.plan.config_id == node.plan.config_id
            if first is not node and (is_same or is_name(node)):
                instead[node] = first
                first.absorb(node)
        for node in nodes if instead else ():
            for links in node.links:
                links.nodes = list(
                    dict.fromkeys(instead.get(child, child) for child in links.nodes)
                )
        return [node for node in nodes if node not in instead]

    @api.model
    def _refuse_missing(self, nodes, errors):
        for node in nodes:
            if node.is_row or node.has_error or node.record is not None:
                continue
            rule = node.plan.identifier
            if not node.is_missing:
                if not is_void(node):
                    continue
                message = self.env._(
                    "it has no key that %(mapping)s maps: %(keys)s.",
                    mapping=node.plan.name,
                    keys=", ".join(rule.api_key for rule in node.plan.writable),
                )
            elif rule is None:
                message = self.env._(
                    "mapping model %s has no record identifier to find it by: mark one "
                    "of its lines as one, or allow Create Missing.",
                    node.plan.name,
                )
            elif not has_identifier(node):
                message = self.env._("name the record by %s.", rule.api_key)
            else:
                message = self.env._(
                    "there is no %(model)s with %(identifier)s %(value)s; create it "
                    "first, or allow Create Missing.",
                    model=node.plan.model,
                    identifier=rule.api_key,
                    value=convert.describe(node.identifier),
                )
            errors.add(node, None, message)


def has_domain(plan):
    return plan.filter_domain not in ("", "[]")


def has_identifier(node):
    return node.identifier not in EMPTY


def is_void(node):
    """Tell whether nothing says how to fill the new record of an object."""
    return all(
        rule.value_type not in (*SCRIPTED, "constant")
        and mapping.take(node.row, rule.key_path) is mapping.ABSENT
        for rule in node.plan.writable
    )


def is_name(node):
    """Tell whether a payload only names a record there: ``"UA"`` or ``{"code": "UA"}``."""
    identifier = node.plan.identifier
    return node.lookup_only or (
        identifier is not None and set(node.row) == {identifier.key_path[0]}
    )


def concerns(rule, node):
    """Tell whether the script of a line, if it has one, has something to do for a row.

    It has when a record is created, when its own key was sent, or when it names a key
    that was sent; an update that touches none of its keys leaves it alone.
    """
    if (
        rule.value_type not in SCRIPTED
        or not node.record
        or mapping.take(node.row, rule.key_path) is not mapping.ABSENT
    ):
        return True
    return any(
        f"'{key}'" in rule.script or f'"{key}"' in rule.script for key in node.row
    )
