from odoo import fields, models


class BjHttpMethod(models.Model):
    _name = "bj.http.method"
    _description = "HTTP Method"
    _order = "id"

    name = fields.Char(required=True, readonly=True)

    _sql_constraints = [("name_unique", "UNIQUE(name)", "The method must be unique.")]
