from odoo import api, models
from odoo.tools.sql import make_index_name
from psycopg2 import IntegrityError
from psycopg2.errorcodes import NOT_NULL_VIOLATION

from ..tools import mapping
from ..tools.node import Errors
from .bj_api_sync_refusal import LIMIT_FAILURES

UNSAID = (mapping.ABSENT, None, "")
# Bytes of a text that an index always takes: PostgreSQL's own limit is 2,704, of what is
# left after it has compressed them.
INDEXED_BYTES = 2000


class BjApiSyncBlame(models.AbstractModel):
    """Whose key it was that PostgreSQL refused: it names columns and indexes at best."""

    _name = "bj.api.sync.blame"
    _description = "API Blame"

    @api.model
    def _get_blamed(self, node, error):
        """Return :class:`~..tools.node.Errors` that name the key, if one can be told.

        :param node: a row; the objects inside it are looked at as well
        """
        errors = Errors()
        if isinstance(error, LIMIT_FAILURES):
            self._blame_too_long(node, error, errors)
            return errors
        for place in node.walk():
            # Of the row and the objects inside, the first that says nothing for it.
            rule = self._get_blamed_rule(place.plan, error)
            if rule and mapping.take(place.row, rule.key_path) in UNSAID:
                errors.add(place, rule, self.env._("a value is required."))
                break
        return errors

    @api.model
    def _get_blamed_rule(self, plan, error):
        """Return the rule of the column that PostgreSQL found empty, if one is."""
        if not isinstance(error, IntegrityError) or error.pgcode != NOT_NULL_VIOLATION:
            return None
        if error.diag.table_name != self.env[plan.model]._table:
            return None
        column = error.diag.column_name
        return next((r for r in plan.writable if r.field_path == column), None)

    @api.model
    def _blame_too_long(self, node, error, errors):
        """Blame the text of the index that is named, else the longest one.

        The longest one is meant where the index is of a column that Odoo makes of it, as
        of a contact's complete name, or where PostgreSQL names none.
        """
        found = [
            (make_index_name(table, name) == error.diag.constraint_name, size, *where)
            for table, name, size, *where in self._get_long_texts(node)
        ]
        if not found:
            return
        _is_named, size, place, rule = max(found, key=lambda text: text[:2])
        message = self.env._(
            "too long for an index of the database: %(size)s bytes, of which it takes "
            "about 2,700; shorten it.",
            size=size,
        )
        errors.add(place, rule, message)

    @api.model
    def _get_long_texts(self, node):
        """Yield ``(table, column, bytes, place, rule)`` of long texts in a row."""
        for place in node.walk():
            rules = {rule.field_path: rule for rule in place.plan.writable}
            for name, value in place.vals.items():
                if isinstance(value, str) and name in rules:
                    size = len(value.encode("utf-8", "replace"))
                    table = self.env[place.plan.model]._table
                    if size > INDEXED_BYTES:
                        yield table, name, size, place, rules[name]
