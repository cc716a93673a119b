from odoo.addons.base_rest.components.service import to_int
from odoo.addons.bj_bench.hooks import FIELDS
from odoo.addons.component.core import Component

TEXTS = [name for name in FIELDS if name != "country_id"]


class PartnerService(Component):
    _inherit = "base.rest.service"
    _name = "bj_bench.partner.service"
    _usage = "partners"
    _collection = "bj_bench.services"
    _log_calls_in_db = True

    def search(self, limit=100, offset=0):
        partners = self.env["res.partner"].search_fetch(
            [], FIELDS, limit=limit, offset=offset, order="id"
        )
        return {"rows": [self._to_json(partner) for partner in partners]}

    def get(self, _id):
        return self._to_json(self.env["res.partner"].browse(_id))

    def create(self, **params):
        return {"id": self.env["res.partner"].create(params).id}

    def create_many(self, rows):
        for row in rows:
            if "category_ids" in row:
                row["category_id"] = [(6, 0, row.pop("category_ids"))]
        return {"ids": self.env["res.partner"].create(rows).ids}

    def update(self, _id, **params):
        self.env["res.partner"].browse(_id).write(params)
        return {}

    def delete(self, _id):
        self.env["res.partner"].browse(_id).unlink()
        return {}

    def _to_json(self, partner):
        row = {name: partner[name] or None for name in TEXTS}
        return {**row, "country": partner.country_id.name or None}

    def _text_schema(self):
        return {name: {"type": "string", "nullable": True} for name in TEXTS}

    def _validator_search(self):
        return {
            "limit": {"type": "integer", "coerce": to_int},
            "offset": {"type": "integer", "coerce": to_int},
        }

    def _row_schema(self):
        return {**self._text_schema(), "country": {"type": "string", "nullable": True}}

    def _validator_return_search(self):
        row = {"type": "dict", "schema": self._row_schema()}
        return {"rows": {"type": "list", "schema": row}}

    def _validator_get(self):
        return {}

    def _validator_return_get(self):
        return self._row_schema()

    def _validator_create(self):
        return self._text_schema()

    def _validator_return_create(self):
        return {"id": {"type": "integer"}}

    def _validator_create_many(self):
        schema = {
            **self._text_schema(),
            "country_id": {"type": "integer"},
            "category_ids": {"type": "list", "schema": {"type": "integer"}},
        }
        return {"rows": {"type": "list", "schema": {"type": "dict", "schema": schema}}}

    def _validator_return_create_many(self):
        return {"ids": {"type": "list", "schema": {"type": "integer"}}}

    def _validator_update(self):
        return self._text_schema()

    def _validator_return_update(self):
        return {}

    def _validator_delete(self):
        return {}

    def _validator_return_delete(self):
        return {}
