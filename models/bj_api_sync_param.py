import re

from odoo import api, fields, models
from odoo.exceptions import ValidationError

OPERATORS = (
    "=",
    "!=",
    ">",
    ">=",
    "<",
    "<=",
    "like",
    "ilike",
    "not like",
    "not ilike",
    "in",
    "not in",
    "=ilike",
    "child_of",
)


PLACEHOLDER = re.compile(r"\{[^{}]+\}")


class BjApiSyncParam(models.Model):
    """One query parameter: a filter for callers (In), a value to send (Out)."""

    _name = "bj.api.sync.param"
    _inherit = "bj.api.sync.secret.value"
    _description = "API Parameter"
    _order = "config_id, id"

    config_id = fields.Many2one(
        "bj.api.sync.config", required=True, ondelete="cascade", index=True
    )
    company_id = fields.Many2one(related="config_id.company_id", store=True)
    model_name = fields.Char(related="config_id.model_name", string="Model Name")
    request_type = fields.Selection(related="config_id.request_type")
    name = fields.Char(string="Key", required=True)
    field_path = fields.Char(string="Field")
    operator = fields.Selection(
        [(operator, operator) for operator in OPERATORS],
        string="Domain Operator",
        default="=",
    )
    value = fields.Char(
        help="In: applied when the caller sends none. Out: what is sent; "
        "{external_key} is replaced by the payload's value. Kept encrypted if the Key "
        "says that it is a password, secret, token or api_key."
    )

    @api.model_create_multi
    def create(self, vals_list):
        params = super().create(vals_list)
        params._after_change()
        return params

    def write(self, vals):
        result = super().write(vals)
        self._after_change()
        return result

    def unlink(self):
        configs = self.config_id
        result = super().unlink()
        configs._forget_plans()
        return result

    def _is_secret(self, text=None):
        """As the log masks a URL; what the payload fills in is no secret to be kept."""
        redactor, _limit = self.env["bj.api.log"]._get_redactor()
        return (
            self.request_type == "out"
            and redactor.is_secret(self.name)
            and not PLACEHOLDER.fullmatch(text or "")
        )

    def _after_change(self):
        for param in self:
            if param.request_type == "in" and not (
                param.field_path and param.operator and param._get_field()
            ):
                raise ValidationError(
                    self.env._(
                        'Parameter "%(key)s" needs a Field of %(model)s and a Domain '
                        "Operator.",
                        key=param.name,
                        model=param.model_name,
                    )
                )
        self.config_id._forget_plans()

    def _get_field(self):
        """Return the field at the end of the path, ``None`` if there is no such path."""
        self.ensure_one()
        return self.config_id._get_field(self.field_path)
