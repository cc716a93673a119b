from odoo import api, fields, models
from odoo.exceptions import ValidationError

from ..exceptions import ApiError
from ..tools import convert, mapping, propose
from ..tools.message import Rule, loads_foreign
from .bj_api_sync_phrase import translate

# Odoo fills these itself, so a caller's value for them is never written.
MAGIC_FIELDS = (
    "id",
    "display_name",
    "create_uid",
    "create_date",
    "write_uid",
    "write_date",
    "parent_path",
)
IDENTIFIER_TYPES = (
    "char",
    "text",
    "integer",
    "many2one",
    "selection",
    "date",
    "datetime",
)
SCRIPTS = ("script", "read_script")


class BjApiSyncConfigLine(models.Model):
    _name = "bj.api.sync.config.line"
    _description = "API Configuration Line"
    _order = "config_id, sequence, id"
    _rec_name = "api_key"

    config_id = fields.Many2one(
        "bj.api.sync.config", required=True, ondelete="cascade", index=True
    )
    company_id = fields.Many2one(related="config_id.company_id", store=True)
    request_type = fields.Selection(related="config_id.request_type")
    model_name = fields.Char(related="config_id.model_name", string="Model Name")
    sequence = fields.Integer(default=10)
    field_path = fields.Char(
        string="Field",
        help="A field of the model, or a path through related records such as "
        "partner_id.country_id.code. A path is read and sent, never written.",
    )
    field_type = fields.Char(compute="_compute_field_type")
    field_relation = fields.Char(compute="_compute_field_type")
    api_key = fields.Char(
        string="External API Key",
        required=True,
        help="Name on the other side. A dot nests: address.city is "
        '{"address": {"city": …}}; write \\\\. for a dot in a name.',
    )
    is_record_identifier = fields.Boolean()
    value_type = fields.Selection(
        [
            ("plain", "Plain"),
            ("relational_mapping", "Relational with Mapping Model"),
            ("python_plain", "Python Script for Plain Value"),
            ("python_relational", "Relational with Python Script"),
            ("constant", "Constant"),
        ],
        string="Value Calculation Type",
        required=True,
        default="plain",
    )
    mapping_config_id = fields.Many2one(
        "bj.api.sync.config",
        string="Mapping Model",
        ondelete="restrict",
        help="Another configuration that says how the related records look.",
    )
    access = fields.Selection(
        [
            ("read_write", "Read and write"),
            ("read", "Read only"),
            ("write", "Write only"),
        ],
        required=True,
        default="read_write",
    )
    required = fields.Boolean(
        help="A record is not created without this key, and it is never emptied."
    )
    script = fields.Text(
        groups="bj_api_sync.group_bj_api_user",
        help="Computes the value that is written (In) or sent (Out).",
    )
    script_mode = fields.Selection(
        [("evaluate", "Evaluate"), ("execute", "Execute")],
        string="Script Evaluation Mode",
        required=True,
        default="evaluate",
        help="Evaluate: one expression, its value is the line's value. Execute: "
        "statements; the line has a value only if the script sets result.",
    )
    read_script = fields.Text(
        groups="bj_api_sync.group_bj_api_user",
        help="Computes the value that a GET answers; without it the field is read.",
    )
    create_missing = fields.Boolean(
        help="Create the related record when no record has the identifier."
    )
    x2many_mode = fields.Selection(
        [("merge", "Merge"), ("replace", "Replace"), ("append", "Append")],
        string="List Mode",
        help="Merge: update and add, leave the rest. Replace: make the list exactly "
        "this. Append: only add. Empty: merge if the mapping model has an identifier, "
        "else replace.",
    )
    nested_format = fields.Selection(
        [("object", "Object"), ("identifier", "Identifier")],
        required=True,
        default="object",
        help="How related records are read: whole objects, or only their identifier.",
    )
    constant_value = fields.Char(help="JSON value, or plain text.")

    @api.depends("field_path", "config_id.model_id")
    def _compute_field_type(self):
        for line in self:
            field = line._get_fields()[-1] if line._has_valid_path() else None
            line.field_type = field.type if field else False
            line.field_relation = field.comodel_name if field else False

    @api.onchange("field_path")
    def _onchange_field_path(self):
        if self.api_key or not self._has_valid_path():
            return
        keys = [
            propose.to_key(
                propose.Field(
                    name=field.name,
                    label=field.get_description(self.env)["string"],
                    type=field.type,
                )
            )
            for field in self._get_fields()
        ]
        known = (self.config_id.line_ids - self - self._origin).mapped("api_key")
        names = ("_".join(keys), self.field_path.replace(".", "_"))
        self.api_key = next((name for name in names if name not in known), False)

    @api.model_create_multi
    def create(self, vals_list):
        self.config_id._check_script_rights(vals_list, SCRIPTS)
        lines = super().create(vals_list)
        lines._after_change()
        return lines

    def write(self, vals):
        self.config_id._check_script_rights([vals], SCRIPTS, self)
        before = self.config_id
        result = super().write(vals)
        self._after_change(before | self.config_id)
        return result

    def unlink(self):
        configs = self.config_id
        result = super().unlink()
        self._after_change(configs)
        return result

    def _after_change(self, configs=None):
        configs = (configs or self.config_id).exists()
        if not self.env.context.get("bj_api_sync_checks_later"):
            configs._check_configuration()
        configs._forget_plans()

    def _get_fields(self):
        """Return the field of each step of the path.

        :raise KeyError: a step that does not exist, or that goes on after a field that
            is no relation
        """
        self.ensure_one()
        model = self.env[self.config_id.model_name]
        found = []
        for name in (self.field_path or "").split("."):
            if found and not found[-1].comodel_name:
                raise KeyError(name)
            field = model._fields[name]
            found.append(field)
            model = self.env[field.comodel_name] if field.comodel_name else None
        return found

    def _has_valid_path(self):
        try:
            return bool(self.field_path and self._get_fields())
        except KeyError:
            return False

    def _fail(self, message):
        raise ValidationError(
            self.env._(
                '%(config)s: line "%(line)s": %(message)s',
                config=self.config_id.name,
                line=self.api_key or self.field_path,
                message=message,
            )
        )

    def _fail_path(self):
        self._fail(
            self.env._(
                "%(model)s has no field %(path)s.",
                model=self.config_id.model_name,
                path=self.field_path,
            )
        )

    def _check_lines(self):
        """Check each line on its own; see ``_check_configuration`` for the rest.

        :raise ValidationError: naming the line
        """
        for line in self:
            line._check_key()
            line._check_field()
            line._check_line_scripts()
        self._check_mapping_models()

    def _check_key(self):
        try:
            mapping.split_key(self.api_key or "")
        except ValueError as error:
            self._fail(str(error))

    def _check_field(self):
        if self.value_type == "constant":
            if not self.constant_value:
                self._fail(self.env._("a constant needs a Constant Value."))
            if not self.field_path:
                return
        if not self.field_path:
            if self.value_type in ("python_plain", "python_relational"):
                return  # the script is the value, or works on the record itself
            self._fail(self.env._("choose a Field."))
        if not self._has_valid_path():
            self._fail_path()
        steps = self._get_fields()
        if len(steps) > 1 and self.access == "write":
            self._fail(
                self.env._(
                    "a path through related records cannot be written; map the "
                    "relation with a Mapping Model."
                )
            )
        if self.is_record_identifier:
            self._check_identifier_field(steps)
        if self.value_type == "constant":
            self._check_constant()

    def _check_constant(self):
        rule = self._compile_rule()
        try:
            convert.to_field(rule, rule.constant)
        except convert.ConvertError as error:
            self._fail(
                self.env._(
                    "the Constant Value does not fit field %(field)s: expected "
                    "%(expected)s, got %(got)s.",
                    field=self.field_path,
                    expected=translate(self.env, error.expected),
                    got=translate(self.env, error.got),
                )
            )

    def _check_identifier_field(self, steps):
        field = steps[-1]
        if self.value_type not in ("plain", "python_plain"):
            self._fail(self.env._("the record identifier must be a plain value."))
        if (
            len(steps) > 1
            or field.type not in IDENTIFIER_TYPES
            or not (field.store or field.search)
        ):
            self._fail(
                self.env._(
                    "field %(field)s cannot identify a record: choose a stored field of "
                    "the model itself, such as a reference, a code or the ID.",
                    field=self.field_path,
                )
            )
        if self.access == "write" or self.mapping_config_id:
            self._fail(self.env._("the record identifier must be readable and plain."))

    def _check_mapping_models(self):
        for line in self:
            if line.value_type != "relational_mapping":
                continue
            if not line.mapping_config_id:
                line._fail(line.env._("choose a Mapping Model."))
            relation = line.field_relation
            if not relation:
                line._fail(line.env._("field %s is no relation.", line.field_path))
            mapped = line.mapping_config_id.sudo().model_name
            if relation != mapped:
                line._fail(
                    line.env._(
                        "Mapping Model %(mapping)s is about %(mapped)s, but the field "
                        "leads to %(relation)s.",
                        mapping=line.mapping_config_id.sudo().name,
                        mapped=mapped,
                        relation=relation,
                    )
                )
            company = line.mapping_config_id.sudo().company_id
            if company and line.company_id and company != line.company_id:
                line._fail(
                    line.env._(
                        "Mapping Model %(mapping)s belongs to another company, "
                        "%(company)s.",
                        mapping=line.mapping_config_id.sudo().name,
                        company=company.name,
                    )
                )
            if line.nested_format == "identifier" and not any(
                line.mapping_config_id.sudo().line_ids.mapped("is_record_identifier")
            ):
                line._fail(
                    line.env._(
                        "Nested Format is Identifier, but Mapping Model %s has no "
                        "record identifier.",
                        line.mapping_config_id.sudo().name,
                    )
                )

    def _check_line_scripts(self):
        script = self.env["bj.api.sync.script"]
        line_sudo = self.sudo()
        if self.value_type in ("python_plain", "python_relational") and not (
            line_sudo.script or line_sudo.read_script
        ):
            self._fail(self.env._("write a Script."))
        for name in SCRIPTS:
            if line_sudo[name]:
                try:
                    script._check(line_sudo[name], self.script_mode)
                except ApiError as error:
                    self._fail(error.description)

    @api.model
    def _run_script(self, rule, source, record, call, request_data):
        """Return what a script of a line gives for one record, or ``NOTHING``.

        :param Rule rule: the compiled line, of a mapping model too
        :param record: ``None`` while there is none
        :param dict request_data: the object of the payload that belongs to the record
        :raise ScriptError: it failed or was refused
        """
        script = self.env["bj.api.sync.script"]
        line_sudo = self.sudo().browse(rule.line_id)
        context = script._make_context(
            line_sudo.config_id,
            direction=call.direction,
            records=record,
            request_data=request_data,
            params=call.params,
            headers=call.headers,
            method=call.method,
            line=line_sudo,
        )
        return script._run(
            source,
            rule.script_mode,
            context,
            name=rule.api_key,
            line_id=rule.line_id,
        )

    def _compile_rule(self):
        """Return this line as a :class:`~..tools.message.Rule`.

        :raise ValidationError: its field is gone, with the module that it came from
        """
        self.ensure_one()
        if self.field_path and not self._has_valid_path():
            self._fail_path()
        field = self._get_fields()[-1] if self.field_path else None
        path = tuple(self.field_path.split(".")) if self.field_path else ()
        return Rule(
            line_id=self.id,
            api_key=self.api_key,
            key_path=mapping.split_key(self.api_key),
            field_path=self.field_path or "",
            path=path,
            field_type=field.type if field else "",
            relation=field.comodel_name or "" if field else "",
            selection=get_fixed_choices(field),
            value_type=self.value_type,
            access=self._compile_access(field, path),
            required=self.required,
            is_identifier=self.is_record_identifier,
            script=self.script or "",
            script_mode=self.script_mode,
            read_script=self.read_script or "",
            mapping_config_id=self.mapping_config_id.id
            if self.value_type == "relational_mapping"
            else 0,
            create_missing=self.create_missing,
            x2many_mode=self.x2many_mode or "",
            nested_format=self.nested_format,
            constant=parse_constant(self.constant_value, field),
            size=getattr(field, "size", None) or 0,
        )

    def _compile_access(self, field, path):
        """Return the access that is possible: nobody can write what Odoo computes."""
        computed = field and field.compute and not field.inverse
        if (
            len(path) > 1
            or self.field_path in MAGIC_FIELDS
            or (computed and (not field.store or field.readonly))
        ):
            return "none" if self.access == "write" else "read"
        return self.access


def get_fixed_choices(field):
    """Return the values of a selection field, none if they are computed each time."""
    if (
        field is None
        or field.type != "selection"
        or not isinstance(field.selection, list)
    ):
        return ()
    return tuple(value for value, _label in field.selection)


def parse_constant(text, field=None):
    """Return the JSON value that ``text`` is, or ``text`` itself.

    What goes to a text field is the text: 007 is no number there, and true no boolean.
    """
    try:
        value = loads_foreign(text)
    except (TypeError, ValueError):
        return text or None
    is_text = field is not None and field.type in ("char", "text", "html", "selection")
    return text if is_text and not isinstance(value, str) else value
