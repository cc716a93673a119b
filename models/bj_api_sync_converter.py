import dataclasses

from odoo import Command, api, models

from ..exceptions import ApiError
from ..tools import convert, mapping
from ..tools.node import Links, Node
from .bj_api_sync_phrase import translate
from .bj_api_sync_relation import EMPTY, SCRIPTED, concerns
from .bj_api_sync_script import NOTHING


class BjApiSyncConverter(models.AbstractModel):
    """From the keys of a payload to the values that ``create`` and ``write`` take.

    Looks at one line of the mapping for all nodes, then at the next, and notes what is
    wrong instead of stopping at it. Objects are the relation service's.
    """

    _name = "bj.api.sync.converter"
    _description = "API Value Converter"

    @api.model
    def _convert(self, plan, nodes, call, errors):
        """Fill ``vals`` of nodes of one plan."""
        nodes = [
            node
            for node in nodes
            if not node.is_missing and not (node.lookup_only and node.record)
        ]
        self._check_keys(plan, nodes, errors)
        for rule in plan.writable:
            if rule.value_type in SCRIPTED and rule.script:
                self._convert_scripted(rule, nodes, call, errors)
                continue
            sent = []
            for node in nodes:
                raw = mapping.take(node.row, rule.key_path)
                is_sent = raw is not mapping.ABSENT
                if rule.value_type == "constant":
                    # What the caller sends for it does not count, only whether.
                    if rule.path and (is_sent or not node.record):
                        sent.append((node, rule.constant))
                elif rule.required and is_empty(raw, node):
                    errors.add(node, rule, self.env._("a value is required."))
                elif rule.is_identifier and node.identifier in EMPTY and raw:
                    continue  # it was looked at before, and found wrong
                elif is_sent:
                    sent.append((node, raw))
            if rule.path and not rule.is_relational:
                self._convert_plain(rule, sent, errors)

    @api.model
    def _check_keys(self, plan, nodes, errors):
        for node in nodes:
            if plan.reject_unknown_keys:
                for key in mapping.unknown_keys(node.row, plan.rules):
                    message = self.env._("no key of %s.", plan.name)
                    errors.add(node, None, message, key=key)
            for key, value in mapping.misshapen_keys(node.row, plan.writable).items():
                message = self.env._(
                    "expected an object, got %s.",
                    translate(self.env, convert.describe(value)),
                )
                errors.add(node, None, message, key=key)

    # -- plain values ----------------------------------------------------------------

    @api.model
    def _convert_plain(self, rule, sent, errors):
        """Fill ``vals`` from ``[(node, raw value)]``."""
        rule = self._with_choices(rule, sent)
        done = []
        for node, raw in sent:
            try:
                value = convert.to_field(rule, raw)
            except convert.ConvertError as error:
                self.env["bj.api.sync.relation"]._add_mismatch(
                    node, rule, error.expected, error.got, errors
                )
                continue
            if rule.field_type == "properties" and isinstance(value, list):
                # What a GET answers also defines the properties; only values are taken.
                value = {item["name"]: item.get("value") for item in value}
            node.vals[rule.field_path] = value
            done.append(node)
        if rule.relation or rule.field_type in ("reference", "many2one_reference"):
            self._check_targets(rule, done, errors)
        if rule.field_type == "one2many":
            self._link_lines(rule, done)
        elif rule.field_type == "many2many":
            for node in done:
                ids = node.vals[rule.field_path]
                node.vals[rule.field_path] = to_commands(rule, ids)

    @api.model
    def _link_lines(self, rule, nodes):
        """Turn lists of ids into links, which know how a line leaves its list."""
        pairs = []
        for node in nodes:
            ids = node.vals.pop(rule.field_path)
            children = [
                Node(
                    node.plan,
                    {},
                    node.index,
                    trail=f"{node.trail}{rule.api_key}[{position}].",
                    rule=rule,
                    lookup_only=True,
                    is_line=True,
                    record=self.env[rule.relation].browse(record_id),
                )
                for position, record_id in enumerate(ids or ())
            ]
            mode = "replace" if ids is False else rule.x2many_mode or "replace"
            links = Links(rule, mode, children)
            node.links.append(links)
            pairs.append((node, links))
        self.env["bj.api.sync.relation"]._note_present(pairs)

    @api.model
    def _with_choices(self, rule, sent):
        """Return the rule with the choices of a selection, or the models of a reference,
        that are computed.
        """
        if (
            rule.field_type not in ("selection", "reference")
            or rule.selection
            or not sent
        ):
            return rule
        field = self.env[sent[0][0].plan.model]._fields[rule.field_path]
        return dataclasses.replace(rule, selection=tuple(field.get_values(self.env)))

    @api.model
    def _check_targets(self, rule, nodes, errors):
        """Refuse ids of records that do not exist or that the user may not see."""
        named = [(node, *self._get_targets(rule, node)) for node in nodes]
        ids_by_model = {}
        for _node, model, ids in named:
            if ids and model in self.env:
                ids_by_model.setdefault(model, set()).update(ids)
        visible = {
            model: set(
                self.env[model]
                .with_context(active_test=False)
                .search([("id", "in", list(ids))])
                ._ids
            )
            for model, ids in ids_by_model.items()
        }
        for node, model, ids in named:
            unknown = [i for i in ids if i not in visible.get(model, ())]
            if unknown:
                message = self.env._(
                    "there is no %(model)s with id %(id)s.", model=model, id=unknown[0]
                )
                errors.add(node, rule, message)

    @api.model
    def _get_targets(self, rule, node):
        """Return ``(model, ids)`` of the records that a value names."""
        value = node.vals[rule.field_path]
        if not value:
            return "", []
        if rule.field_type == "reference":
            model, record_id = value.split(",")
            return model, [int(record_id)]
        if rule.field_type == "many2one_reference":
            name = self.env[node.plan.model]._fields[rule.field_path].model_field
            model = node.vals.get(name) or (node.record and node.record[name]) or ""
            return model, [value]
        return rule.relation, value if isinstance(value, list) else [value]

    # -- scripts ---------------------------------------------------------------------

    @api.model
    def _convert_scripted(self, rule, nodes, call, errors):
        for node in nodes:
            if not concerns(rule, node):
                continue
            if rule.is_identifier:
                if node.identifier not in EMPTY:
                    node.vals[rule.field_path] = node.identifier
                elif rule.required and not node.has_error:
                    errors.add(node, rule, self.env._("a value is required."))
                continue
            try:
                value = self.env["bj.api.sync.config.line"]._run_script(
                    rule, rule.script, node.record, call, node.row
                )
                if value is not NOTHING and rule.path:
                    value = self._from_script(rule, value)
            except convert.ConvertError as error:
                self.env["bj.api.sync.relation"]._add_mismatch(
                    node, rule, error.expected, error.got, errors
                )
            except ApiError as error:
                errors.add(node, rule, error.description, cause=error)
            else:
                if rule.required and value in (NOTHING, None, False, ""):
                    errors.add(node, rule, self.env._("a value is required."))
                elif value is not NOTHING and rule.path:
                    node.vals[rule.field_path] = value

    @api.model
    def _from_script(self, rule, value):
        """Return what a script computed as ``create`` takes it.

        A relation may be given as records, ids, commands, or ``dict`` for new records.

        :raise ConvertError: it does not fit the field
        """
        if isinstance(value, models.BaseModel) and value._name != rule.relation:
            raise convert.ConvertError(
                self.env._("records of %s", rule.relation or rule.field_type),
                value._name,
            )
        if rule.is_x2many:
            return self._commands_from_script(rule, value)
        if isinstance(value, models.BaseModel):
            return value[:1].id
        if value is False:
            return value  # how Odoo says "empty"
        return convert.to_field(rule, value)

    @api.model
    def _commands_from_script(self, rule, value):
        if not value:
            return [Command.clear()]
        if isinstance(value, models.BaseModel):
            return [Command.set(value.ids)]
        if isinstance(value, tuple) and is_command(value):
            return [value]
        if not isinstance(value, list | tuple):
            expected = self.env._("records, ids or commands")
            raise convert.ConvertError(expected, convert.describe(value))
        commands, ids = [], []
        for item in value:
            if isinstance(item, dict):
                commands.append(Command.create(item))
            elif isinstance(item, models.BaseModel):
                ids += item.ids
            elif is_command(item):
                commands.append(item)
            else:
                ids += convert.to_field(rule, [item])
        return [*([Command.set(ids)] if ids else ()), *commands]


def is_empty(raw, node):
    """Tell whether a required key is missing: a new record needs it, none loses it."""
    if raw is mapping.ABSENT:
        return not node.record
    return raw is None or raw in ("", [])


def is_command(value):
    """Tell whether a value is one x2many command, such as ``(4, 7)``."""
    return (
        isinstance(value, list | tuple)
        and 1 <= len(value) <= 3
        and value[0] in tuple(Command)
    )


def to_commands(rule, ids):
    """Return the many2many commands for a list of ids, ``False`` for null."""
    if ids is False:
        return [Command.clear()]
    if rule.x2many_mode in ("append", "merge"):
        return [Command.link(record_id) for record_id in ids]
    return [Command.set(ids)]
