from pathlib import Path

from odoo import models
from odoo.modules.migration import exec_script
from odoo.tools import sql

STEPS = Path(__file__).resolve().parent.parent / "migrations"
PARAMETER = "bj_api_sync.schema"
XML_ID = "bj_api_sync.ir_config_parameter_schema"


class BjApiSyncSchema(models.AbstractModel):
    """Bring the tables of an older database to what the code expects.

    Odoo runs the scripts of ``migrations/<version>/`` when the version in the manifest
    has risen. Ours stays the same, and says nothing about the tables: so they have a
    number of their own, in a system parameter. A database without one is older than
    numbers, a new one begins with the newest.

    The scripts are where Odoo would look for them and as it would run them, ``pre-*.py``
    before the columns are made and ``post-*.py`` after it, but in the folder ``0.N`` for
    the step to number N: far below the version of the manifest, so that Odoo itself
    leaves them alone. They run when the addon is upgraded, in the transaction of that.

    A number that is lost runs all of them again: each looks first what is there.
    """

    _name = "bj.api.sync.schema"
    _description = "API Schema"

    def init(self):
        # The first model that models/__init__.py imports is the first to get here, when
        # no table of ours has been touched.
        steps = self._get_steps()
        newest = max(steps)
        is_new = not sql.table_exists(self.env.cr, "bj_api_sync_config")
        number = newest if is_new else self._get_number()
        due = sorted(step for step in steps if step > number)
        self._run(due, "pre")
        # Done when each table has its columns, still in this transaction.
        self.pool.post_init(self._finish, due, max(number, newest))

    def _finish(self, due, number):
        self._run(due, "post")
        self._set_number(number)

    def _get_steps(self):
        return [int(path.name.removeprefix("0.")) for path in STEPS.glob("0.*")]

    def _run(self, numbers, stage):
        for number in numbers:
            for path in sorted((STEPS / f"0.{number}").glob(f"{stage}-*.py")):
                exec_script(
                    self.env.cr, number, str(path), "bj_api_sync", stage, f"0.{number}"
                )

    def _get_number(self):
        text = self.env["ir.config_parameter"].sudo().get_param(PARAMETER) or ""
        return int(text) if text.isdecimal() else 0

    def _set_number(self, number):
        parameters = self.env["ir.config_parameter"].sudo()
        if self._get_number() != number:
            parameters.set_param(PARAMETER, str(number))
            # With an XML id of ours it goes when the addon is uninstalled.
            record = parameters.search([("key", "=", PARAMETER)])
            self.env["ir.model.data"]._update_xmlids(
                [{"xml_id": XML_ID, "record": record, "noupdate": True}]
            )
