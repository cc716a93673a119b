import re

from odoo import Command, api, fields, models
from odoo.exceptions import UserError

from ..exceptions import ApiError
from ..models.bj_api_sync_config import ENDPOINT_SLUG, RESERVED_ENDPOINTS
from ..models.bj_api_sync_config_line import IDENTIFIER_TYPES
from ..tools import mapping as mapping_tools
from ..tools import payload, propose
from .bj_api_sync_preview import as_text

MAX_DEPTH = 4  # levels of a sample that are looked at
# What is ticked at first, besides what is required and what identifies.
USUAL = (
    "active",
    "category_id",
    "city",
    "country_id",
    "date_order",
    "default_code",
    "email",
    "invoice_date",
    "invoice_line_ids",
    "list_price",
    "name",
    "order_line",
    "partner_id",
    "phone",
    "price_unit",
    "product_id",
    "product_uom_qty",
    "quantity",
    "state",
    "street",
    "tag_ids",
    "vat",
    "zip",
)


class BjApiSyncWizard(models.TransientModel):
    """Proposes a configuration from the fields of a model or from a payload."""

    _name = "bj.api.sync.wizard"
    _description = "New API Configuration"

    source = fields.Selection(
        [("model", "Fields of a model"), ("json", "JSON sample")],
        required=True,
        default="model",
    )
    request_type = fields.Selection(
        [("in", "In"), ("out", "Out")], required=True, default="in"
    )
    model_id = fields.Many2one(
        "ir.model",
        required=True,
        ondelete="cascade",
        domain=lambda self: self.env["bj.api.sync.config"]._get_model_domain(),
    )
    model_name = fields.Char(related="model_id.model", string="Model Name")
    name = fields.Char(
        compute="_compute_names", store=True, readonly=False, required=True
    )
    endpoint = fields.Char(compute="_compute_names", store=True, readonly=False)
    url = fields.Char(string="Request URL")
    sample = fields.Text(
        string="JSON Sample",
        help="One object, or a list of them, as the other side sends or takes it.",
    )
    sample_error = fields.Char(readonly=True)
    line_ids = fields.One2many("bj.api.sync.wizard.line", "wizard_id", string="Lines")
    advice = fields.Text(compute="_compute_advice")

    @api.depends("model_id")
    def _compute_names(self):
        for wizard in self:
            label = wizard.model_id.name or ""
            wizard.name = label
            wizard.endpoint = wizard._get_free_endpoint(label)

    def _get_free_endpoint(self, label):
        word = propose.to_snake(label).replace("_", "-")
        if not word:
            word = re.sub(r"[^a-z0-9]+", "-", self.model_name or "")
        if not word:
            return False
        word = propose.plural(word)
        configs = self.env["bj.api.sync.config"].sudo()
        taken = set(configs.search([("request_type", "=", "in")]).mapped("endpoint"))
        taken.update(RESERVED_ENDPOINTS)
        guesses = [word, *(f"{word}-{number}" for number in range(2, 100))]
        return next(guess for guess in guesses if guess not in taken)

    @api.depends(
        "request_type",
        "endpoint",
        "line_ids.is_selected",
        "line_ids.is_record_identifier",
        "line_ids.related_as",
        "line_ids.mapping_config_id",
        "line_ids.field_path",
    )
    def _compute_advice(self):
        for wizard in self:
            is_in = wizard.request_type == "in"
            advice = wizard._get_identifier_advice() if is_in else []
            wizard.advice = "\n".join(advice) or False

    def _get_identifier_advice(self):
        """Return what to do about each object of which no key tells its records apart."""
        lines = self.line_ids.filtered("is_selected")
        named = set(lines.filtered("is_record_identifier").mapped("parent_key"))
        named = {parent_key or "" for parent_key in named}
        advice = []
        if lines and self.endpoint and "" not in named:
            advice.append(
                self.env._(
                    "No key tells the records apart. Mark one as Identifier, such as a "
                    "reference or a code: an endpoint needs it."
                )
            )
        parents = set(self.line_ids.mapped("parent_key"))
        for line in lines:
            trail = line._get_trail()
            is_new = line.related_as == "mapping" and not line.mapping_config_id
            if trail not in parents or trail in named or not is_new:
                continue
            advice.append(
                self.env._(
                    "%(key)s: no key inside tells one line from another, so a PUT "
                    "replaces all lines by those that it sends. If the other side has "
                    "such a key, map it and mark it as Identifier.",
                    key=trail[:-1],
                )
                if line.field_type == "one2many"
                else self.env._(
                    "%(key)s: no key inside says which record is meant, so it can be "
                    "read, but a call that writes it is refused. Map such a key, e.g. a "
                    "code or a name, and mark it as Identifier.",
                    key=trail[:-1],
                )
            )
        return advice

    @api.onchange("model_id", "sample", "source")
    def _onchange_source(self):
        self.sample_error = False
        vals_list = []
        if self.model_id and self.source == "model":
            vals_list = self._propose_from_model()
        elif self.model_id and self.sample:
            try:
                vals_list = self._propose_from_sample()
            except ApiError as error:
                self.sample_error = error.description
        for number, vals in enumerate(vals_list):
            vals["sequence"] = number
        self.line_ids = [Command.clear(), *map(Command.create, vals_list)]
        if self.source == "json":
            self._mark_identifiers(self.line_ids)

    @api.onchange("line_ids")
    def _onchange_line_ids(self):
        """Follow what has been chosen by hand."""
        for line in self.line_ids.filtered("changed"):
            self._follow_choice(line)
            line.changed = False
        if self.source == "json":
            self._propose_inside()

    def _follow_choice(self, line):
        """Keep one identifier in an object, and move the proposed one to a better."""
        group = line._get_siblings()
        others = group - line
        marked = others.filtered("is_record_identifier")
        is_proposed = not marked or marked == self._pick_identifier(others)
        if line.changed == "field_path" and is_proposed:
            line.is_record_identifier |= self._pick_identifier(group) == line
        if line.is_record_identifier:
            marked.is_record_identifier = False

    def _propose_inside(self):
        """Propose what is inside an object whose field has been chosen by hand."""
        for line in self.line_ids:
            trail = line._get_trail()
            depth = trail.count("/")
            inside = line._get_inside()
            is_new = inside[:1].model_name != line.field_relation
            is_chosen = line in self.line_ids and line.field_relation and is_new
            objects = self._get_sample_objects(line) if is_chosen else []
            if not objects or depth > MAX_DEPTH:
                continue
            line.related_as, line.mapping_config_id = "mapping", False
            owner = {
                "parent_key": line.parent_key or "",
                "api_key": line.api_key,
                "model_name": line.model_name,
                "field_path": line.field_path,
            }
            vals_list = [owner]
            merged = propose.merge_objects(objects)
            self._propose_keys(line.field_relation, merged, trail, "", vals_list, depth)
            # What is inside an object of the model that was chosen before goes.
            self.line_ids -= line._get_grouped() | inside
            known = self.line_ids
            self.line_ids = [
                Command.create({**vals, "sequence": len(known) + more})
                for more, vals in enumerate(vals_list[1:])
            ]
            self._mark_identifiers(self.line_ids - known)

    def _get_sample_objects(self, line):
        """Return the objects that the sample has under the key of a line."""
        try:
            rows = (
                self._get_sample_objects(line._get_owner())
                if line.parent_key
                else get_objects(payload.loads((self.sample or "").encode()))
            )
            path = mapping_tools.split_key(line.api_key)
        except (ApiError, ValueError):  # a key that is blank
            return []
        found = [mapping_tools.take(row, path) for row in rows]
        return [inner for value in found for inner in get_objects(value)]

    # -- proposals -------------------------------------------------------------------

    def _get_fields(self, model_name):
        """Return the fields of a model that a mapping may use."""
        model = self.env[model_name]
        return [
            propose.Field(
                name=name,
                label=field.get_description(self.env)["string"],
                type=field.type,
                relation=field.comodel_name or "",
                is_stored=bool(field.store),
                is_required=bool(field.required and not field.compute),
            )
            for name, field in model._fields.items()
            if not propose.NOISE.match(name)
            and (not field.groups or self.env.user.has_groups(field.groups))
        ]

    def _propose_from_model(self):
        found = self._get_fields(self.model_name)
        identifier = propose.identifier(self.model_name, found)
        defaults = self.env[self.model_name].sudo()._fields

        def is_ticked(field):
            needed = field.is_required and not defaults[field.name].default
            return needed or field.name == identifier or field.name in USUAL

        found.sort(key=lambda f: (f.name != identifier, not is_ticked(f), f.label))
        names = {field.name for field in found}
        keys, vals_list = set(), []
        for field in found:
            key = propose.to_key(field)
            # "res_model_id" must not take the key of a field "res_model".
            if key != field.name and (key in names or key in keys):
                key = field.name
            keys.add(key)
            vals_list.append(
                {
                    **self._prepare_line(self.model_name, field, key),
                    "is_selected": is_ticked(field),
                    "is_record_identifier": field.name == identifier,
                }
            )
        return vals_list

    def _prepare_line(self, model_name, field, key):
        vals = {
            "model_name": model_name,
            "api_key": key,
            "field_path": field.name if field else False,
            "is_selected": bool(field),
        }
        if field and field.relation:
            mapping = self._find_mapping(field.relation)
            by_id = self._is_named_by_id(field.relation) and field.type != "one2many"
            vals["related_as"] = "id" if by_id and not mapping else "mapping"
            vals["mapping_config_id"] = mapping.id
        return vals

    def _find_mapping(self, model_name):
        """Return the oldest configuration that is a mapping model of this model."""
        configs = self.env["bj.api.sync.config"].search(
            [
                ("model_name", "=", model_name),
                ("request_type", "=", "in"),
                ("endpoint", "=", False),
                ("line_ids", "!=", False),
            ],
            order="id",
        )
        return configs._filter_usable()[:1]

    def _is_named_by_id(self, model_name):
        return self._guess_identifier(model_name) == "id"

    def _guess_identifier(self, model_name):
        """Return the field that names a related record: its own, or its name."""
        found = propose.identifier(model_name, self._get_fields(model_name))
        model = self.env[model_name]
        name = model._rec_name
        if found == "id" and name and model._fields[name].type == "char":
            return name if model._fields[name].store else "id"
        return found

    def _propose_from_sample(self):
        rows = get_objects(payload.loads(self.sample.encode()))
        if not rows:
            self.sample_error = self.env._("Paste a JSON object, or a list of objects.")
            return []
        vals_list = []
        self._propose_keys(
            self.model_name, propose.merge_objects(rows), "", "", vals_list
        )
        return vals_list

    def _propose_keys(self, model_name, row, parent_key, prefix, vals_list, depth=0):
        """Append a line per key of an object.

        :param str parent_key: of the relation that the object belongs to, ``""`` at top
        :param str prefix: of keys that nest but are fields of the same model
        """
        known = self._get_fields(model_name)
        if prefix:
            known = [field for field in known if field.name != "id"]
        taken = {
            vals["field_path"]
            for vals in vals_list
            if vals["parent_key"] == parent_key and vals["field_path"]
        }
        for key, value in row.items():
            step = key.replace(".", "\\.")
            field = propose.find(
                [field for field in known if field.name not in taken], key, value
            )
            api_key = f"{prefix}{step}"
            if field:
                taken.add(field.name)
            vals = {
                **self._prepare_line(model_name, field, api_key),
                "parent_key": parent_key,
                "sample": as_text(value)[:100] if value is not None else "",
            }
            vals_list.append(vals)
            if field and field.relation:
                self._propose_related(
                    field, value, vals, vals_list, parent_key, depth + 1
                )
            elif isinstance(value, dict) and not field and depth < MAX_DEPTH:
                # No relation is known by this key, so it may only group fields. The
                # line above lets a person say otherwise.
                self._propose_keys(
                    model_name, value, parent_key, f"{api_key}.", vals_list, depth + 1
                )

    def _propose_related(self, field, value, vals, vals_list, parent_key, depth):
        """Append the lines of a related object's own keys."""
        values = value if isinstance(value, list) else [value]
        objects = get_objects(value)
        vals["related_as"] = "mapping"
        if objects and depth < MAX_DEPTH:
            vals["mapping_config_id"] = False
            trail = f"{parent_key}{vals['api_key']}/"
            merged = propose.merge_objects(objects)
            self._propose_keys(field.relation, merged, trail, "", vals_list, depth)
        elif not objects:
            is_id = all(isinstance(item, int) for item in values if item is not None)
            vals["nested_format"] = "identifier"
            if is_id and value is not None:
                vals["related_as"] = "id"

    def _mark_identifiers(self, lines):
        """Mark one line of each object as the one that tells its records apart."""
        for parent_key in dict.fromkeys(lines.mapped("parent_key")):
            group = lines.filtered(lambda line, key=parent_key: line.parent_key == key)
            self._pick_identifier(group).is_record_identifier = True

    def _pick_identifier(self, group):
        """Return the line of an object that tells its records apart, empty if none.

        What is proposed and what follows a choice by hand, by one rule.

        :param group: lines of one object
        """
        chosen = {line.field_path: line.api_key for line in group if line.field_path}
        if not chosen:
            return group.browse()
        model_name = group[0].model_name
        names = ()
        owner = group[0]._get_owner()
        # A name says which country is meant, but not which line of an order.
        if owner.field_type in ("many2one", "many2many"):
            names = (self.env[model_name]._rec_name, "name")
        found = propose.pick_identifier(
            model_name, self._get_fields(model_name), chosen, names
        )
        return group.filtered(lambda line: found and line.field_path == found)[:1]

    # -- creating --------------------------------------------------------------------

    def action_propose(self):
        """Show the lines that the pasted sample has given, to be checked."""
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "bj_api_sync.bj_api_sync_wizard_action_json"
        )
        return {**action, "res_id": self.id}

    def action_create_config(self):
        self.ensure_one()
        lines = self.line_ids.filtered("is_selected")
        top = lines.filtered(lambda line: not line.parent_key)
        if not top:
            raise UserError(self.env._("Tick one field at least."))
        vals = {
            "name": self.name,
            "request_type": self.request_type,
            "model_id": self.model_id.id,
            "line_ids": [Command.create(vals) for vals in self._prepare_lines(top)],
        }
        if self.request_type == "in":
            vals.update(self._prepare_endpoint(top))
        else:
            method = self.env.ref("bj_api_sync.bj_http_method_post")
            vals.update(
                url=self.url,
                auth_type="none",
                http_method_ids=[Command.set(method.ids)],
            )
        config = self.env["bj.api.sync.config"].create(vals)
        return {
            "type": "ir.actions.act_window",
            "res_model": config._name,
            "res_id": config.id,
            "views": [(False, "form")],
        }

    def _prepare_endpoint(self, top):
        if not self.endpoint:
            return {}
        if not ENDPOINT_SLUG.fullmatch(self.endpoint):
            raise UserError(
                self.env._(
                    'Endpoint "%s" must consist of a-z, 0-9, "-" and "_" and start with '
                    "a letter or digit.",
                    self.endpoint,
                )
            )
        if not top.filtered("is_record_identifier"):
            raise UserError(
                self.env._(
                    "Mark the line that tells records apart as the record identifier, "
                    "such as a reference or a code. Without one, an endpoint cannot "
                    "find the record that a call means."
                )
            )
        methods = self.env["bj.http.method"].search(
            [("name", "in", ["GET", "POST", "PUT", "DELETE"])]
        )
        return {
            "endpoint": self.endpoint,
            "http_method_ids": [Command.set(methods.ids)],
        }

    def _prepare_lines(self, lines):
        for number, line in enumerate(lines, 1):
            if not line.field_path:
                raise UserError(
                    self.env._('Choose a field for "%s", or untick it.', line.api_key)
                )
            vals = {
                "sequence": number * 10,
                "api_key": line.api_key,
                "field_path": line.field_path,
                "is_record_identifier": line.is_record_identifier,
            }
            if line.field_relation and line.related_as == "mapping":
                mapping = line.mapping_config_id or self._create_mapping(line)
                has_identifier = mapping.line_ids.filtered("is_record_identifier")
                vals.update(
                    value_type="relational_mapping",
                    mapping_config_id=mapping.id,
                    nested_format=line.nested_format if has_identifier else "object",
                    create_missing=line.field_type == "many2many"
                    and bool(has_identifier),
                )
            yield vals

    def _create_mapping(self, line):
        """Create the mapping model of a related field, from its lines or by a guess."""
        trail = line._get_trail()
        children = self.line_ids.filtered(
            lambda child: child.is_selected and child.parent_key == trail
        )
        if children:
            line_vals = list(self._prepare_lines(children))
        else:
            line_vals = self._guess_mapping_lines(line.field_relation, line)
        model = self.env["ir.model"]._get(line.field_relation)
        return self.env["bj.api.sync.config"].create(
            {
                "name": f"{self.name}: {model.name}",
                "request_type": "in",
                "model_id": model.id,
                "line_ids": [Command.create(vals) for vals in line_vals],
            }
        )

    def _guess_mapping_lines(self, model_name, line):
        """Return what is usual of a related record: what names it, and for the lines of
        a document what they need."""
        identifier = self._guess_identifier(model_name)
        names = dict.fromkeys([identifier])
        known = {field.name: field for field in self._get_fields(model_name)}
        if line.field_type == "one2many":
            inverse = self.env[line.model_name]._fields[line.field_path].inverse_name
            model_fields = self.env[model_name]._fields
            names = {"id": None}
            for field in known.values():
                needed = field.is_required and not model_fields[field.name].default
                if field.name != inverse and (needed or field.name in USUAL):
                    names[field.name] = None
            identifier = "id"
        elif rec_name := self.env[model_name]._rec_name:
            names[rec_name] = None
        found = []
        for name in names:
            field = known.get(name)
            if not field or field.type in propose.X2MANY:
                continue
            vals = {
                "field_path": name,
                "api_key": propose.to_key(field),
                "is_record_identifier": name == identifier,
            }
            if field.relation:
                mapping = self._find_mapping(field.relation)
                if mapping:
                    vals.update(
                        value_type="relational_mapping", mapping_config_id=mapping.id
                    )
            found.append(vals)
        return found


def get_objects(value):
    """Return the objects of a sample's list, or the only one."""
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, dict)]


class BjApiSyncWizardLine(models.TransientModel):
    _name = "bj.api.sync.wizard.line"
    _description = "New API Configuration Line"
    _order = "sequence, id"

    wizard_id = fields.Many2one("bj.api.sync.wizard", required=True, ondelete="cascade")
    sequence = fields.Integer()
    is_selected = fields.Boolean(string="Use", default=True)
    parent_key = fields.Char(string="Inside")
    model_name = fields.Char(required=True)
    field_path = fields.Char(string="Field")
    field_label = fields.Char(string="Label", compute="_compute_field")
    field_type = fields.Char(string="Type", compute="_compute_field")
    field_relation = fields.Char(compute="_compute_field")
    api_key = fields.Char(string="External API Key", required=True)
    is_record_identifier = fields.Boolean(string="Identifier")
    related_as = fields.Selection([("id", "Odoo ID"), ("mapping", "Mapping")])
    mapping_config_id = fields.Many2one(
        "bj.api.sync.config",
        string="Mapping Model",
        help="Empty: a new one is created.",
        ondelete="set null",
    )
    nested_format = fields.Selection(
        [("object", "Object"), ("identifier", "Identifier")], default="object"
    )
    sample = fields.Char()
    changed = fields.Char()  # name of the field that was changed by hand just now

    def _get_trail(self):
        """Return the ``parent_key`` of the keys inside this one."""
        return f"{self.parent_key or ''}{self.api_key}/"

    def _get_siblings(self):
        """Return the lines in use of the object that this one belongs to."""
        return self.wizard_id.line_ids.filtered(
            lambda line: (
                line.is_selected and (line.parent_key or "") == (self.parent_key or "")
            )
        )

    def _get_grouped(self):
        """Return the lines that take this object for a mere group of fields."""
        return self.wizard_id.line_ids.filtered(
            lambda line: (
                (line.parent_key or "") == (self.parent_key or "")
                and line.api_key.startswith(f"{self.api_key}.")
            )
        )

    def _get_inside(self):
        """Return the lines of the object that this one's relation leads to, all levels."""
        trail = self._get_trail()
        return self.wizard_id.line_ids.filtered(
            lambda line: (line.parent_key or "").startswith(trail)
        )

    def _get_owner(self):
        """Return the line whose relation leads to the object of this one."""
        return self.wizard_id.line_ids.filtered(
            lambda line: line._get_trail() == self.parent_key
        )[:1]

    @api.depends("field_path", "model_name")
    def _compute_field(self):
        for line in self:
            model = self.env.get(line.model_name or "")
            field = None
            for step in (line.field_path or "").split("."):
                field = model._fields.get(step) if model is not None else None
                model = self.env.get(field.comodel_name) if field else None
            line.field_type = field.type if field else False
            line.field_relation = field.comodel_name if field else False
            line.field_label = (
                field.get_description(self.env)["string"] if field else False
            )

    @api.onchange("field_path")
    def _onchange_field_path(self):
        self.changed = "field_path"
        if self.field_path:
            self.is_selected = True
            if self.field_relation and not self.related_as:
                self.related_as = "id"
        if self.field_type not in IDENTIFIER_TYPES or self.field_relation:
            self.is_record_identifier = False

    @api.onchange("is_record_identifier")
    def _onchange_is_record_identifier(self):
        self.changed = "is_record_identifier"
