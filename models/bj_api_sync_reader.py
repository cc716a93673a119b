import base64
from datetime import date, datetime

from odoo import api, models

from ..tools import convert, mapping
from .bj_api_sync_relation import has_domain
from .bj_api_sync_script import NOTHING

# Types whose values in the ORM's cache are what read(load=None) gives, but for an empty
# one, which is None there; whole columns can be taken from it.
CACHED_TYPES = (
    "char",
    "text",
    "html",
    "selection",
    "boolean",
    "integer",
    "float",
    "monetary",
    "date",
    "datetime",
    "many2one",
)
EMPTY_VALUES = {"boolean": False, "integer": 0, "float": 0.0, "monetary": 0.0}


class BjApiSyncReader(models.AbstractModel):
    """Records to payloads along a plan: one read per level, whatever their number.

    Works in columns: each line of the mapping gives one value per record, and the
    columns are put together last. Runs with the rights of the environment's user.
    """

    _name = "bj.api.sync.reader"
    _description = "API Payload Reader"

    @api.model
    def _read_payloads(self, plan, records, call, keys=None, is_fetched=False):
        """Return one payload per record.

        :param Plan plan: of a configuration of the records' model
        :param Call call: direction and values for scripts
        :param keys: only these external keys, or the first part of them; all if ``None``
        :param bool is_fetched: the user has just searched ``records`` and fetched
            :meth:`_get_field_names`, so that nothing is left to be checked or read
        :return: list of ``dict`` in the order of ``records``
        :raise AccessError: the user may not read a field that is mapped
        """
        rules = get_rules(plan, keys)
        columns = self._read_columns(rules, records, call, is_fetched)
        return mapping.assemble(
            [rule.key_path for rule in rules], columns, len(records)
        )

    @api.model
    def _pick(self, plan, value, keys):
        """Return a payload with only these external keys of it."""
        paths = [rule.key_path for rule in get_rules(plan, set(keys))]
        columns = [[mapping.take(value, path)] for path in paths]
        return mapping.assemble(paths, columns, 1)[0]

    @api.model
    def _get_field_names(self, plan, call, keys=None):
        """Return the fields that a payload takes of the record itself."""
        rules = get_rules(plan, keys)
        return sorted({r.path[0] for r in rules if self._reads_field(r, call)})

    @api.model
    def _get_field_paths(self, plan, call):
        """Return these fields, and as ``country_id.code`` those of what they refer to."""
        paths = set(self._get_field_names(plan, call))
        for rule in plan.readable:
            if not self._reads_field(rule, call):
                continue
            if rule.is_relational:
                names = self._get_nested_names(rule, call)
                plan = self.env["bj.api.sync.config"]._get_plan(rule.mapping_config_id)
                if not has_domain(plan):  # else they are searched for, and read then
                    paths.update(f"{rule.field_path}.{name}" for name in names)
            else:
                paths.add(rule.field_path)
        return sorted(paths)

    @api.model
    def _get_nested_names(self, rule, call):
        """Return the fields that a relation's payload takes of the related record."""
        plan = self.env["bj.api.sync.config"]._get_plan(rule.mapping_config_id)
        if rule.nested_format == "identifier":
            return self._get_identifier_names(plan, call)
        return self._get_field_names(plan, call)

    @api.model
    def _get_identifier_names(self, plan, call):
        """Return the fields that the identifier takes of the record itself."""
        rule = plan.identifier
        return [rule.path[0]] if rule and self._reads_field(rule, call) else []

    @api.model
    def _read_identifiers(self, plan, records, call, is_fetched=False):
        """Return the identifier's external value of each record; its id without one."""
        if not plan.identifier:
            return list(records.ids)
        return self._read_columns([plan.identifier], records, call, is_fetched)[0]

    @api.model
    def _read_columns(self, rules, records, call, is_fetched=False):
        paths = {rule.path for rule in rules if self._reads_field(rule, call)}
        found = self._fetch(records, paths, is_fetched)
        return [self._read_column(rule, records, found, call) for rule in rules]

    @api.model
    def _reads_field(self, rule, call):
        return (
            rule.path and rule.value_type != "constant" and not get_script(rule, call)
        )

    @api.model
    def _read_column(self, rule, records, found, call):
        if rule.value_type == "constant":
            return [rule.constant] * len(records)
        if script := get_script(rule, call):
            return [self._run_script(rule, script, record, call) for record in records]
        if not rule.path:
            return [mapping.ABSENT] * len(records)
        by_id = found[rule.path]
        column = [by_id[record_id] for record_id in records._ids]
        if rule.is_relational:
            return self._nest(rule, column, call)
        return column

    @api.model
    def _fetch(self, records, paths, is_fetched=False):
        """Return ``{path: {record id: JSON value}}``, with one read for this level.

        A step that a record rule hides from the user reads like one that is not set:
        one hidden parent must not make a whole list fail.
        """
        names = sorted({path[0] for path in paths})
        if not names:
            return {}
        if not is_fetched:
            records.fetch(names)
        columns = {name: self._get_column(records, name) for name in names}
        found = {}
        for path in paths:
            if len(path) == 1:
                column = columns[path[0]]
                to_json = convert.json_converter(records._fields[path[0]].type)
                if to_json is not convert.none_if_false:
                    column = {id_: to_json(value) for id_, value in column.items()}
                found[path] = column
        for name in names:
            deeper = {path[1:] for path in paths if path[0] == name and len(path) > 1}
            if deeper:
                links = columns[name]
                comodel = records._fields[name].comodel_name
                wanted = sorted({path[0] for path in deeper})
                related = self._get_related(comodel, links.values(), wanted)
                inner = self._fetch(related, deeper, is_fetched=True)
                for path in deeper:
                    is_flat = self._leads_to_lists(related, path)
                    found[(name, *path)] = {
                        record_id: follow(link, inner[path], is_flat)
                        for record_id, link in links.items()
                    }
        return found

    @api.model
    def _leads_to_lists(self, model, path):
        """Tell whether a path gives a list for each record."""
        for name in path:
            field = model._fields[name]
            if field.type in convert.X2MANY_TYPES:
                return True
            model = self.env[field.comodel_name] if field.comodel_name else None
        return False

    @api.model
    def _get_column(self, records, name):
        """Return ``{record id: value}`` of a field that has been fetched.

        An empty one is ``None``, but for booleans and numbers.
        """
        field = records._fields[name]
        if field.type in CACHED_TYPES:
            if field.compute and field.store:
                field.recompute(records)
            values = records.env.cache.get_until_miss(records, field)
            if len(values) == len(records):
                if field.type in EMPTY_VALUES:
                    values = [value or EMPTY_VALUES[field.type] for value in values]
                return dict(zip(records._ids, values, strict=True))
        rows = records._read_format([name], load=None)
        if field.type == "boolean":
            return {row["id"]: row[name] for row in rows}
        return {row["id"]: convert.none_if_false(row[name]) for row in rows}

    @api.model
    def _get_related(self, model, links, names, domain=()):
        """Return the records that ids and lists of ids lead to, if the user sees them.

        :param names: fields to fetch of them
        :param domain: only those inside it
        :raise AccessError: the user may not read the model, or one of the fields
        """
        ids = {}  # keeps order, which a set would not
        for link in links:
            for record_id in link if isinstance(link, list | tuple) else (link,):
                if record_id:
                    ids[record_id] = True
        related = self.env[model].browse(ids)
        if not domain and self._is_cached(
            related, names
        ):  # as after a write, or joined
            visible = related._filtered_access("read")
            if not visible:  # hidden by the rules, or is the whole model?
                related.browse().check_access("read")
            if any(related._fields[name].groups for name in names):
                visible.fetch(names)  # which checks them
            return visible
        # The rules in SQL: to apply them itself, Odoo reads every field of the records.
        everything = related
        if related._active_name:
            everything = related.with_context(active_test=False)
        found = everything.search_fetch(
            [("id", "in", related.ids), *domain], names, order="id"
        )
        visible = set(found._ids)
        return related.browse(id_ for id_ in ids if id_ in visible)

    @api.model
    def _is_cached(self, records, names):
        missing = self.env.cache.get_missing_ids
        return not any(any(missing(records, records._fields[name])) for name in names)

    @api.model
    def _nest(self, rule, column, call):
        """Return the column of ids as nested payloads of the mapping model.

        A record outside its Filter Domain reads like one that is hidden.
        """
        plan = self.env["bj.api.sync.config"]._get_plan(rule.mapping_config_id)
        names = self._get_nested_names(rule, call)
        domain = self.env["bj.api.sync.relation"]._get_domain(plan)
        related = self._get_related(plan.model, column, names, domain)
        is_identifier = rule.nested_format == "identifier"
        read = self._read_identifiers if is_identifier else self._read_payloads
        values = read(plan, related, call, is_fetched=True)
        by_id = dict(zip(related._ids, values, strict=True))
        return [follow(value, by_id) for value in column]

    @api.model
    def _run_script(self, rule, source, record, call):
        value = self.env["bj.api.sync.config.line"]._run_script(
            rule, source, record, call, {}
        )
        if value is NOTHING:
            return mapping.ABSENT
        if rule.is_x2many and isinstance(value, models.BaseModel):
            return value.ids  # a list, however many they are
        return self._to_jsonable(value, rule.api_key, line_id=rule.line_id)

    @api.model
    def _to_jsonable(self, value, name, line_id=None, keep=frozenset()):
        """Return what a script computed as a JSON value, see :func:`to_jsonable`.

        :param str name: how messages call the script
        :param keep: floats that are not the script's, and stay as they are
        :raise ScriptError: NaN or Infinity is in it
        """
        try:
            return convert.round_floats(to_jsonable(value), keep)
        except convert.ConvertError as error:
            script = self.env["bj.api.sync.script"]
            raise script._no_number(name, error.got, line_id) from error


def get_rules(plan, keys):
    """Return the rules of the external keys that are asked for; of all if ``None``."""
    return [
        rule
        for rule in plan.readable
        if keys is None or rule.key_path[0] in keys or rule.api_key in keys
    ]


def get_script(rule, call):
    """Return the script that computes the value which is read, if one does."""
    if rule.value_type not in ("python_plain", "python_relational"):
        return ""
    return rule.script if call.direction == "out" else rule.read_script


def follow(link, by_id, is_flat=False):
    """Return what ``by_id`` has for an id, or the list of it for a list of ids.

    :param bool is_flat: its values are lists themselves, of which one is made
    """
    if not isinstance(link, list | tuple):
        return by_id.get(link, [] if is_flat else None)
    values = [by_id[record_id] for record_id in link if record_id in by_id]
    return [item for value in values for item in value] if is_flat else values


def to_jsonable(value):
    """Return what a script computed as a JSON value: records by id, moments as text."""
    if isinstance(value, models.BaseModel):
        ids = value.ids
        return ids if len(ids) > 1 else (ids[0] if ids else None)
    if isinstance(value, datetime):
        return convert.to_json("datetime", convert.to_datetime(value))
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode() if value.isascii() else base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {str(key): to_jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_jsonable(inner) for inner in value]
    return str(value) if isinstance(value, str) else value
