from odoo import models


class Base(models.AbstractModel):
    """A duplicate is another record, also over there: it does not begin with the value
    that an answer has written to its original, which would make it overwrite that."""

    _inherit = "base"

    def copy_data(self, default=None):
        given = set(default or ())
        vals_list = super().copy_data(default)
        for name in self._get_answer_fields() - given:
            for vals in filter(None, vals_list):  # None for one that is copied already
                vals.pop(name, None)
        return vals_list

    def copy_translations(self, new, excluded=()):
        return super().copy_translations(new, {*excluded, *self._get_answer_fields()})

    def _get_answer_fields(self):
        """Return the names of the fields that answers are written to."""
        known = self.env["bj.api.sync.config"]._get_answer_fields_by_model()
        return known.get(self._name, frozenset())
