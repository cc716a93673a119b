import hashlib
from dataclasses import dataclass, field

from psycopg2 import IntegrityError

from odoo import Command, api, models
from odoo.exceptions import AccessError, MissingError, UserError, ValidationError

from ..exceptions import ApiError, Conflict, NotFound, PayloadError
from ..tools import convert, mapping
from ..tools.message import RowResult
from .bj_api_sync_script import NOTHING

UNIQUE_VIOLATION = "23505"
FOREIGN_KEY_VIOLATION = "23503"
CONFLICTS = (UNIQUE_VIOLATION, FOREIGN_KEY_VIOLATION)


@dataclass(eq=False)
class Node:
    """One payload object on its way to one record: found or to be made.

    ``links`` are ``{rule: Links}``: related objects, which are saved before this one
    (many2one, many2many) or with it (one2many).
    """

    plan: object
    row: dict
    index: int
    trail: str = ""
    record: object = None
    identifier: object = None
    vals: dict = field(default_factory=dict)
    links: list = field(default_factory=list)
    lookup_only: bool = False
    saved_id: int = 0
    changed: bool = False


@dataclass(eq=False)
class Links:
    """The related objects of one node under one rule.

    ``nodes`` in the order of the payload; ``mode`` is ``one`` (many2one), ``merge``,
    ``replace`` or ``append``; ``remove`` are ids of lines that are no longer wanted.
    """

    rule: object
    mode: str
    nodes: list
    remove: tuple = ()


class Errors:
    """What is wrong with the rows of one call, in the order it is found."""

    def __init__(self):
        self.by_index = {}

    def add(self, node, rule, message, code=400):
        key = f"{node.trail}{rule.api_key}" if rule else node.trail.rstrip(".")
        error = {"index": node.index, "message": message}
        if key:
            error = {"index": node.index, "key": key, "message": message}
        if rule:
            error["line_id"] = rule.line_id
        self.by_index.setdefault(node.index, []).append((code, error))


class BjApiSyncWriter(models.AbstractModel):
    """Payloads to records along a plan, in three steps.

    *Convert* turns all rows into nodes, looking up what they name with one search per
    level and mapping model, and gathers everything that is wrong. *Check* decides what
    each row does (create, update, conflict). *Save* writes bottom-up: related records
    first, then one ``create`` for all new rows and a ``write`` for those that differ.
    Runs with the rights of the environment's user.
    """

    _name = "bj.api.sync.writer"
    _description = "API Payload Writer"

    @api.model
    def _write_rows(
        self,
        plan,
        rows,
        call,
        *,
        operation="upsert",
        partial=False,
        targets=None,
        domain=(),
    ):
        """Create or update one record per row.

        :param list rows: parsed payloads, one ``dict`` per record
        :param str operation: ``create`` (an existing identifier is a conflict),
            ``update`` (a missing one is not found) or ``upsert``
        :param bool partial: keep the rows that work when others do not
        :param targets: the records to update, one per row, when the caller knows them
        :param domain: records outside it can neither be updated nor made twice
        :return: list of :class:`RowResult`, one per row
        :raise PayloadError: not ``partial`` and a row failed; nothing is to be kept then
        """
        results = [None] * len(rows)
        for wave in self._split_waves(plan, rows, operation):
            nodes = [Node(plan, rows[index], index) for index in wave]
            if targets is not None:
                for node in nodes:
                    node.record = targets[node.index]
            errors = self._prepare(nodes, call, operation, domain)
            for index, found in errors.by_index.items():
                results[index] = failed_result(index, found)
            sound = [node for node in nodes if node.index not in errors.by_index]
            # One row that fails takes the others along, unless they are to be kept or
            # to be reported: then each has to be tried alone.
            isolate = len(rows) > 1 or partial
            for result in self._save_rows(sound, isolate=isolate):
                results[result.index] = result
        failed = [result for result in results if result.status == "error"]
        if failed and not partial:
            raise_failed(failed, bulk=len(rows) > 1)
        return results

    @api.model
    def _split_waves(self, plan, rows, operation):
        """Yield lists of row numbers in which no identifier comes twice.

        A second row with the same identifier has to see what the first one did.
        """
        rule = plan.identifier
        waves, seen = [[]], {}
        for index, row in enumerate(rows):
            value = (
                mapping.take(row, rule.key_path)
                if rule and isinstance(row, dict)
                else None
            )
            key = str(value) if value not in (None, mapping.ABSENT, "") else None
            wave = seen.get(key, -1) + 1 if key else 0
            if key:
                seen[key] = wave
            while len(waves) <= wave:
                waves.append([])
            waves[wave].append(index)
        return [wave for wave in waves if wave]

    # -- convert ---------------------------------------------------------------------

    @api.model
    def _prepare(self, nodes, call, operation, domain):
        """Fill ``nodes`` and return the :class:`Errors` found on the way."""
        errors = Errors()
        targeted = nodes[0].record is not None
        self._identify(nodes, call, errors)
        if not targeted:
            self._hide_outside(nodes, operation, domain, errors)
            for node in nodes:
                self._decide(node, operation, errors)
        self._convert(nodes, call, errors)
        return errors

    @api.model
    def _hide_outside(self, nodes, operation, domain, errors):
        """Treat records outside the Filter Domain as not there, but never make a twin."""
        ids = [node.record.id for node in nodes if node.record]
        if not domain or not ids:
            return
        model = self.env[nodes[0].plan.model].with_context(active_test=False)
        inside = set(model.search([("id", "in", ids), *domain])._ids)
        for node in nodes:
            if node.record and node.record.id not in inside:
                if operation == "upsert":
                    message = self.env._(
                        "%(key)s %(value)s belongs to a record outside this endpoint.",
                        key=node.plan.identifier.api_key,
                        value=convert.describe(node.identifier),
                    )
                    errors.add(node, node.plan.identifier, message, code=409)
                elif operation == "update":
                    node.record = None

    @api.model
    def _decide(self, node, operation, errors):
        rule = node.plan.identifier
        if operation == "create" and node.record:
            errors.add(
                node,
                rule,
                self.env._(
                    "%(key)s %(value)s exists already.",
                    key=rule.api_key,
                    value=convert.describe(node.identifier),
                ),
                code=409,
            )
        elif operation == "update" and not node.record:
            if node.identifier in (None, False):
                message = self.env._("Name the record by %s.", rule.api_key)
                errors.add(node, rule, message)
            else:
                message = self.env._(
                    "There is no record with %(key)s %(value)s.",
                    key=rule.api_key,
                    value=convert.describe(node.identifier),
                )
                errors.add(node, rule, message, code=404)

    @api.model
    def _identify(self, nodes, call, errors, candidates=None):
        """Find the records that the identifiers of ``nodes`` name, in one search.

        A node whose record is known keeps it; its identifier may then not be another
        record's.

        :param candidates: ``{node: records}`` to look among, instead of all records
        """
        plan = nodes[0].plan
        rule = plan.identifier
        if not rule:
            return
        for node in nodes:
            node.identifier = self._get_identifier(node, rule, call, errors)
        values = list(
            {n.identifier for n in nodes if n.identifier not in (None, False)}
        )
        nested = bool(nodes[0].trail)
        found = self._search_by_identifier(plan, values, nested) if values else {}
        for node in nodes:
            if node.identifier in (None, False):
                continue
            records = found.get(node.identifier, self.env[plan.model])
            if candidates is not None:
                records &= candidates[node]
            if node.record:
                if records - node.record and rule.field_path != "id":
                    errors.add(
                        node,
                        rule,
                        self.env._(
                            "%(key)s %(value)s belongs to another record.",
                            key=rule.api_key,
                            value=convert.describe(node.identifier),
                        ),
                        code=409,
                    )
                continue
            if len(records) > 1:
                errors.add(
                    node,
                    rule,
                    self.env._(
                        "%(count)s records have %(key)s %(value)s; it must name one.",
                        count=len(records),
                        key=rule.api_key,
                        value=convert.describe(node.identifier),
                    ),
                    code=400 if node.trail else 409,
                )
            node.record = records[:1] or None

    @api.model
    def _get_identifier(self, node, rule, call, errors):
        """Return the identifier's value as the field has it, ``None`` without one."""
        if rule.value_type == "python_plain" and rule.script:
            value = self._run_script(rule, node, call)
            return None if value is NOTHING else value
        raw = mapping.take(node.row, rule.key_path)
        if raw is mapping.ABSENT or raw is None or raw == "":
            return None
        try:
            return convert.to_field(rule, raw)
        except convert.ConvertError as error:
            errors.add(node, rule, self._conversion_message(rule, error))
            return None

    @api.model
    def _search_by_identifier(self, plan, values, nested):
        """Return ``{identifier: records}``, archived ones too, within the user's rules."""
        name = plan.identifier.field_path
        model = self.env[plan.model].with_context(active_test=False)
        domain = [(name, "in", values)]
        if nested and plan.filter_domain not in ("", "[]"):
            domain = [
                *self.env["bj.api.sync.script"]._eval_domain_text(
                    plan.filter_domain, self.env.user, self.env.company.id
                ),
                *domain,
            ]
        found = {}
        for row in model.search_fetch(domain, [name]).read([name], load=None):
            found.setdefault(row[name], []).append(row["id"])
        return {value: self.env[plan.model].browse(ids) for value, ids in found.items()}

    @api.model
    def _convert(self, nodes, call, errors):
        """Fill ``vals`` and ``links`` of nodes of one plan from their rows."""
        plan = nodes[0].plan
        if plan.reject_unknown_keys:
            for node in nodes:
                for key in mapping.unknown_keys(node.row, plan.rules):
                    errors.add(
                        node, None, self.env._('"%s" is no key of this endpoint.', key)
                    )
        for node in nodes:
            for key, value in mapping.misshapen_keys(node.row, plan.writable).items():
                message = self.env._(
                    "%(key)s: expected an object, got %(value)s.",
                    key=f"{node.trail}{key}",
                    value=convert.describe(value),
                )
                errors.add(node, None, message)
        for rule in plan.writable:
            present = []
            for node in nodes:
                raw = mapping.take(node.row, rule.key_path)
                if self._check_required(rule, node, raw, errors):
                    present.append((node, raw))
            if rule.value_type == "constant":
                for node in nodes:
                    if rule.path and not node.record:
                        node.vals[rule.field_path] = rule.constant
            elif (
                rule.value_type in ("python_plain", "python_relational") and rule.script
            ):
                for node in nodes:
                    self._convert_script(rule, node, call, errors)
            elif rule.is_relational:
                self._convert_relation(rule, present, call, errors)
            elif rule.path:
                self._convert_plain(rule, present, errors)

    @api.model
    def _check_required(self, rule, node, raw, errors):
        """Tell whether the key was sent; complain about a required one that was not."""
        missing = raw is mapping.ABSENT
        if rule.required and rule.value_type in ("plain", "relational_mapping"):
            if (missing and not node.record) or raw is None:
                message = self.env._("%s is required.", f"{node.trail}{rule.api_key}")
                errors.add(node, rule, message)
                return False
        return not missing

    @api.model
    def _convert_plain(self, rule, present, errors):
        name = rule.field_path
        for node, raw in present:
            try:
                value = convert.to_field(rule, raw)
            except convert.ConvertError as error:
                errors.add(
                    node, rule, self._conversion_message(rule, error, node.trail)
                )
                continue
            node.vals[name] = value
        if rule.relation and rule.field_type != "many2one_reference":
            self._check_ids(rule, [node for node, _raw in present], errors)

    @api.model
    def _conversion_message(self, rule, error, trail=""):
        return self.env._(
            "%(key)s: expected %(expected)s, got %(got)s.",
            key=f"{trail}{rule.api_key}",
            expected=error.expected,
            got=error.got,
        )

    @api.model
    def _check_ids(self, rule, nodes, errors):
        """Refuse ids of related records that do not exist or that the user cannot see."""
        name = rule.field_path
        wanted = {}
        for node in nodes:
            value = node.vals.get(name)
            if value:
                wanted[node] = value if isinstance(value, list) else [value]
        ids = {record_id for found in wanted.values() for record_id in found}
        if not ids:
            return
        model = self.env[rule.relation].with_context(active_test=False)
        known = set(model.search([("id", "in", list(ids))])._ids)
        for node, found in wanted.items():
            unknown = [record_id for record_id in found if record_id not in known]
            if unknown:
                errors.add(
                    node,
                    rule,
                    self.env._(
                        "%(key)s: there is no %(model)s with id %(id)s.",
                        key=f"{node.trail}{rule.api_key}",
                        model=rule.relation,
                        id=unknown[0],
                    ),
                )
            elif isinstance(node.vals[name], list):
                mode = rule.x2many_mode
                node.vals[name] = (
                    [Command.link(record_id) for record_id in found]
                    if mode in ("append", "merge")
                    else [Command.set(found)]
                )
        for node in nodes:
            if node.vals.get(name) == [] and rule.is_x2many:
                node.vals[name] = [Command.clear()]

    @api.model
    def _convert_script(self, rule, node, call, errors):
        if not self._concerns(rule, node):
            return
        try:
            value = self._run_script(rule, node, call)
            if value is NOTHING or not rule.path:
                return
            node.vals[rule.field_path] = self._to_orm(rule, value)
        except convert.ConvertError as error:
            message = self._conversion_message(rule, error, node.trail)
            errors.add(node, rule, message)
        except ApiError as error:
            errors.add(node, rule, error.description)

    @api.model
    def _concerns(self, rule, node):
        """Tell whether a script has something to do for a row.

        It has when a record is created, when its own key was sent, or when it names a
        key that was sent; an update that touches none of its keys leaves it alone.
        """
        if (
            not node.record
            or mapping.take(node.row, rule.key_path) is not mapping.ABSENT
        ):
            return True
        return any(
            f"'{key}'" in rule.script or f'"{key}"' in rule.script for key in node.row
        )

    @api.model
    def _run_script(self, rule, node, call):
        script = self.env["bj.api.sync.script"]
        context = script._make_context(
            self.env["bj.api.sync.config"].sudo().browse(call.config_id),
            direction=call.direction,
            records=node.record or self.env[node.plan.model],
            request_data=node.row,
            params=call.params,
            headers=call.headers,
            method=call.method,
            line=self.env["bj.api.sync.config.line"].sudo().browse(rule.line_id),
        )
        return script._run(
            rule.script,
            rule.script_mode,
            context,
            name=rule.api_key,
            line_id=rule.line_id,
        )

    @api.model
    def _to_orm(self, rule, value):
        """Return what a script computed as ``create`` takes it for the rule's field."""
        if isinstance(value, models.BaseModel):
            return [Command.set(value.ids)] if rule.is_x2many else value[:1].id
        if rule.is_x2many and isinstance(value, list | tuple):
            if isinstance(value, tuple) and value and isinstance(value[0], int):
                return [value]  # one command, not in a list
            if all(isinstance(item, dict) for item in value):
                return [Command.create(item) for item in value]
            if all(isinstance(item, int) for item in value):
                return [Command.set(list(value))]
            return [
                Command.create(item) if isinstance(item, dict) else item
                for item in value
            ]
        if value is None or isinstance(value, bool | int | float | str):
            if rule.field_type == "boolean" and isinstance(value, int):
                return bool(value)
            if value is False:
                return False
            return convert.to_field(rule, value)
        return value

    # -- relations -------------------------------------------------------------------

    @api.model
    def _convert_relation(self, rule, present, call, errors):
        plan = self.env["bj.api.sync.config"]._get_plan(rule.mapping_config_id)
        if rule.is_x2many:
            present = [
                (node, [] if raw is None else raw)
                for node, raw in present
                if self._is_list(rule, node, raw, errors)
            ]
        if rule.field_type == "one2many":
            self._convert_lines(rule, plan, present, call, errors)
            return
        for node, raw in present:
            if rule.is_x2many:
                items = raw
            elif raw is None:
                node.vals[rule.field_path] = False
                continue
            else:
                items = [raw]
            children = []
            for position, item in enumerate(items):
                suffix = f"[{position}]" if rule.is_x2many else ""
                child = self._make_child(rule, plan, node, item, suffix, errors)
                if child:
                    children.append(child)
            mode = rule.x2many_mode or "replace"
            node.links.append(Links(rule, mode if rule.is_x2many else "one", children))
        links = [
            node.links[-1] for node, raw in present if raw is not None or rule.is_x2many
        ]
        self._resolve(rule, plan, links, call, errors)

    @api.model
    def _is_list(self, rule, node, raw, errors):
        if raw is None or isinstance(raw, list):
            return True
        errors.add(
            node,
            rule,
            self.env._(
                "%(key)s: expected an array, got %(got)s.",
                key=f"{node.trail}{rule.api_key}",
                got=convert.describe(raw),
            ),
        )
        return False

    @api.model
    def _make_child(self, rule, plan, parent, item, suffix, errors):
        """Return the node of a related object, or of the scalar that names it."""
        trail = f"{parent.trail}{rule.api_key}{suffix}"
        if isinstance(item, dict):
            return Node(plan, item, parent.index, f"{trail}.")
        if isinstance(item, list) or item is None or not plan.identifier:
            wanted = "an object" if not plan.identifier else "a value or an object"
            message = self.env._(
                "%(key)s: expected %(expected)s, got %(got)s.",
                key=trail,
                expected=wanted,
                got=convert.describe(item),
            )
            errors.add(parent, rule, message)
            return None
        row = {}
        inner = row
        *parents, last = plan.identifier.key_path
        for step in parents:
            inner = inner.setdefault(step, {})
        inner[last] = item
        return Node(plan, row, parent.index, f"{trail}.", lookup_only=True)

    @api.model
    def _resolve(self, rule, plan, all_links, call, errors):
        """Find or prepare the records that many2one and many2many objects name.

        Objects with the same identifier are one record, whichever rows they stand in, so
        their nodes become one; a later object's keys win.
        """
        children = [child for links in all_links for child in links.nodes]
        if not children:
            return
        self._identify(children, call, errors)
        shared, kept = {}, []
        for child in children:
            key = child.identifier
            if key in (None, False):
                kept.append(child)
            elif key in shared:
                shared[key].row = {**shared[key].row, **child.row}
                shared[key].lookup_only &= child.lookup_only
            else:
                shared[key] = child
                kept.append(child)
        for links in all_links:
            links.nodes = [
                shared.get(child.identifier, child)
                if child.identifier not in (None, False)
                else child
                for child in links.nodes
            ]
        for child in kept:
            if not child.record and not rule.create_missing:
                self._add_not_found(rule, child, errors)
        # Keys of an object that names no record are checked too, but a scalar has none.
        active = [c for c in kept if not (c.lookup_only and c.record)]
        if active:
            self._convert(active, call, errors)

    @api.model
    def _add_not_found(self, rule, child, errors):
        if child.index in errors.by_index and any(
            error.get("key", "").startswith(child.trail)
            for _code, error in errors.by_index[child.index]
        ):
            return  # the identifier itself was no good, which says more
        identifier = child.plan.identifier
        key = child.trail.rstrip(".")
        if identifier and child.identifier not in (None, False):
            message = self.env._(
                "%(key)s: there is no %(model)s with %(identifier)s %(value)s.",
                key=key,
                model=child.plan.model,
                identifier=identifier.api_key,
                value=convert.describe(child.identifier),
            )
        elif identifier:
            message = self.env._(
                "%(key)s: name the record by %(identifier)s.",
                key=key,
                identifier=identifier.api_key,
            )
        else:
            message = self.env._(
                "%(key)s: the mapping model has no record identifier, so nothing can be "
                "found; allow Create Missing.",
                key=key,
            )
        parent = Node(child.plan, {}, child.index, key)
        errors.by_index.setdefault(child.index, []).append(
            (
                400,
                {
                    "index": parent.index,
                    "key": key,
                    "line_id": rule.line_id,
                    "message": message,
                },
            )
        )

    @api.model
    def _convert_lines(self, rule, plan, present, call, errors):
        """Match the objects of one2many fields with the lines that are there."""
        existing = self._get_lines(rule, [node for node, _raw in present])
        all_children, candidates = [], {}
        for node, items in present:
            mode = rule.x2many_mode or (
                "merge" if plan.identifier and items is not None else "replace"
            )
            if mode == "merge" and (not plan.identifier or not items):
                mode = "replace" if not items else "append"
            children = []
            for position, item in enumerate(items):
                child = self._make_child(
                    rule, plan, node, item, f"[{position}]", errors
                )
                if child:
                    children.append(child)
                    candidates[child] = existing[node]
            node.links.append(Links(rule, mode, children))
            if mode != "append":
                all_children.extend(c for c in children if not c.lookup_only)
            all_children_of_mode = [c for c in children if c.lookup_only]
            if all_children_of_mode:
                self._identify(all_children_of_mode, call, errors)
                for child in all_children_of_mode:
                    if not child.record:
                        self._add_not_found(rule, child, errors)
        if all_children:
            self._identify(all_children, call, errors, candidates)
        for node, _items in present:
            links = node.links[-1]
            self._refuse_twins(rule, links, errors)
            if links.mode == "replace":
                kept = {child.record.id for child in links.nodes if child.record}
                links.remove = tuple(
                    line_id for line_id in existing[node]._ids if line_id not in kept
                )
        to_convert = [
            child
            for node, _items in present
            for child in node.links[-1].nodes
            if not child.lookup_only
        ]
        if to_convert:
            self._convert(to_convert, call, errors)

    @api.model
    def _get_lines(self, rule, nodes):
        """Return ``{node: its present lines}``, archived ones too, with one search."""
        model = self.env[rule.relation].with_context(active_test=False)
        lines = {node: model.browse() for node in nodes}
        parents = [node.record.id for node in nodes if node.record]
        if not parents:
            return lines
        owner = self.env[nodes[0].plan.model]._fields[rule.field_path]
        if owner.inverse_name:
            inverse = owner.inverse_name
            model_of_owner = self.env[owner.model_name]
            domain = [(inverse, "in", parents), *owner.get_domain_list(model_of_owner)]
            by_parent = {}
            for line in model.search_fetch(domain, [inverse]):
                value = line[inverse]
                by_parent.setdefault(getattr(value, "id", value), []).append(line.id)
            for node in nodes:
                if node.record:
                    lines[node] = model.browse(by_parent.get(node.record.id, ()))
        else:
            for node in nodes:
                if node.record:
                    lines[node] = node.record.with_context(active_test=False)[
                        rule.field_path
                    ]
        return lines

    @api.model
    def _refuse_twins(self, rule, links, errors):
        seen = set()
        for child in links.nodes:
            if child.identifier in (None, False):
                continue
            if child.identifier in seen and links.mode != "append":
                message = self.env._(
                    "%(key)s %(value)s stands twice in the list.",
                    key=f"{child.trail}{child.plan.identifier.api_key}",
                    value=convert.describe(child.identifier),
                )
                errors.add(child, child.plan.identifier, message)
            seen.add(child.identifier)

    # -- save ------------------------------------------------------------------------

    @api.model
    def _save_rows(self, nodes, isolate):
        """Save nodes in one go; if that fails and ``isolate``, each in a savepoint."""
        if not nodes:
            return []
        if not isolate:
            self._save(nodes)
            return [self._success(node) for node in nodes]
        try:
            with self.env.cr.savepoint():
                self._save(nodes)
            return [self._success(node) for node in nodes]
        except (UserError, IntegrityError, ValueError, ApiError):
            self._forget(nodes)
        results = []
        for node in nodes:
            try:
                with self.env.cr.savepoint():
                    self._save([node])
                results.append(self._success(node))
            except (UserError, IntegrityError, ValueError, ApiError) as error:
                self._forget([node])
                results.append(self._failure(node, error))
        return results

    @api.model
    def _forget(self, nodes):
        """Undo what a rolled back save has noted, and what the cache still believes."""
        self.env.invalidate_all(flush=False)
        for node in nodes:
            if not node.record:
                node.saved_id = 0
            node.changed = False
            for links in node.links:
                self._forget(links.nodes)

    @api.model
    def _save(self, nodes):
        self._save_links(nodes)
        new = [node for node in nodes if not node.record and not node.saved_id]
        if new:
            model = self.env[new[0].plan.model]
            self._claim_identifiers(new)
            records = model.create([self._get_vals(node) for node in new])
            for node, record in zip(new, records, strict=True):
                node.saved_id = record.id
                node.changed = True
        known = [node for node in nodes if node.record]
        for node in known:
            node.saved_id = node.record.id
        self._update(known)
        # Constraints of the database speak now, not at some later row's expense.
        self.env.flush_all()

    @api.model
    def _save_links(self, nodes):
        """Save what the nodes refer to: one create per mapping model and level."""
        by_rule, lines = {}, []
        for node in nodes:
            for links in node.links:
                if links.rule.field_type == "one2many":
                    lines.extend(links.nodes)
                else:
                    by_rule.setdefault(links.rule.line_id, {}).update(
                        dict.fromkeys(links.nodes)
                    )
        for children in by_rule.values():
            pending = [c for c in children if c.record is None or c.vals or c.links]
            for child in children:
                if child.record:
                    child.saved_id = child.record.id
            unsaved = [c for c in pending if c.record or not c.saved_id]
            if unsaved:
                self._save(unsaved)
        if lines:
            self._save_links(lines)

    @api.model
    def _get_vals(self, node):
        """Return the values of a node, with the commands of its related objects."""
        vals = dict(node.vals)
        for links in node.links:
            vals[links.rule.field_path] = self._get_link_value(links)
        return vals

    @api.model
    def _get_link_value(self, links):
        if links.mode == "one":
            return links.nodes[0].saved_id if links.nodes else False
        if links.rule.field_type == "many2many":
            ids = list(dict.fromkeys(child.saved_id for child in links.nodes))
            if links.mode == "replace":
                return [Command.set(ids)]
            return [Command.link(record_id) for record_id in ids]
        commands = [Command.delete(line_id) for line_id in links.remove]
        for child in links.nodes:
            if child.lookup_only:
                commands.append(Command.link(child.record.id))
            elif child.record:
                vals = self._get_changes(child)
                if vals:
                    commands.append(Command.update(child.record.id, vals))
            else:
                commands.append(Command.create(self._get_vals(child)))
        return commands

    @api.model
    def _update(self, nodes):
        """Write what differs; records that get the same values share one write."""
        groups = {}
        for node in nodes:
            vals = self._get_changes(node)
            if vals:
                node.changed = True
                groups.setdefault(repr(sorted(vals.items())), (vals, []))[1].append(
                    node
                )
        for vals, group in groups.values():
            model = self.env[group[0].plan.model]
            model.browse([node.record.id for node in group]).write(vals)

    @api.model
    def _get_changes(self, node):
        """Return the values that would change the record.

        What is as it should be is not written: a nightly sync of everything then touches,
        and triggers, only what is new.
        """
        changes = {}
        for name, value in self._get_vals(node).items():
            if self._differs(node.record, name, value):
                changes[name] = value
        return changes

    @api.model
    def _differs(self, record, name, value):
        model_field = record._fields[name]
        if model_field.type in ("one2many", "many2many"):
            if not isinstance(value, list) or not value:
                return bool(value)
            present = set(record.with_context(active_test=False)[name]._ids)
            wanted = set(present)
            for command in value:
                if command[0] == Command.SET:
                    wanted = set(command[2])
                elif command[0] == Command.LINK:
                    wanted.add(command[1])
                elif command[0] == Command.CLEAR:
                    wanted = set()
                else:
                    return True
            return wanted != present
        if not (model_field.store or model_field.inverse) or model_field.type in (
            "json",
            "properties",
            "properties_definition",
            "binary",
        ):
            return True
        try:
            current = model_field.convert_to_write(record[name], record)
            new = model_field.convert_to_write(
                model_field.convert_to_record(
                    model_field.convert_to_cache(value, record), record
                ),
                record,
            )
        except AccessError:
            return True  # may be written but not read
        if model_field.type in ("float", "monetary"):
            return abs((current or 0) - (new or 0)) > 1e-9
        return current != new

    @api.model
    def _claim_identifiers(self, nodes):
        """Make two calls that create the same identifier at once meet each other.

        Neither sees the other's new record. Both write one row per identifier instead,
        so the later one gets a serialization failure; Odoo then repeats it, and it finds
        the record that the first has made.
        """
        rule = nodes[0].plan.identifier
        if not rule or rule.field_path == "id":
            return
        keys = sorted(
            {
                claim_key(node.plan.model, rule.field_path, node.identifier)
                for node in nodes
                if node.identifier not in (None, False)
            }
        )
        if keys:
            self.env["bj.api.sync.claim"]._claim(keys)

    @api.model
    def _success(self, node):
        created = not node.record
        status = (
            "created"
            if created
            else "updated"
            if self._has_changed(node)
            else "unchanged"
        )
        return RowResult(
            index=node.index,
            status=status,
            code=201 if created else 200,
            record_id=node.saved_id,
            identifier=node.identifier
            if node.identifier is not None
            else node.saved_id,
        )

    @api.model
    def _has_changed(self, node):
        return node.changed or any(
            self._has_changed(child)
            for links in node.links
            for child in links.nodes
            if links.rule.field_type != "one2many"
        )

    @api.model
    def _failure(self, node, error):
        code, message = describe_error(self.env, error)
        return RowResult(
            index=node.index,
            status="error",
            code=code,
            identifier=node.identifier,
            message=message,
            line_id=getattr(error, "line_id", None),
            errors=[{"index": node.index, "message": message}],
        )


def claim_key(model, name, value):
    """Return the name under which an identifier is claimed: short and index-friendly."""
    return hashlib.sha256(f"{model}\0{name}\0{value}".encode()).hexdigest()[:32]


def describe_error(env, error):
    """Return ``(status, sentence)`` of what a save raised."""
    if isinstance(error, ApiError):
        return error.code, error.description
    if isinstance(error, IntegrityError):
        model = next(
            (
                env[m._name]
                for m in env.registry.values()
                if m._table == error.diag.table_name
            ),
            env["base"],
        )
        code = 409 if error.pgcode in CONFLICTS else 400
        return code, model._sql_error_to_message(error)
    code = 403 if isinstance(error, AccessError) else 400
    if isinstance(error, MissingError):
        code = 404
    return code, str(error.args[0] if error.args else error)


def failed_result(index, found):
    """Return the result of a row from its errors, ``[(status, error)]``."""
    code, first = found[0]
    return RowResult(
        index=index,
        status="error",
        code=code,
        message=first["message"],
        line_id=first.get("line_id"),
        errors=[error for _code, error in found],
    )


def raise_failed(results, bulk):
    """Raise what one failed row, or all failed rows of a bulk call, amount to."""
    errors = [error for result in results for error in result.errors]
    first = results[0]
    if not bulk and first.code != 400:
        family = {404: NotFound, 409: Conflict}.get(first.code)
        if family:
            error = errors[0]
            details = {name: error[name] for name in ("key",) if name in error}
            raise family(first.message, details=details)
    raise PayloadError(errors)
