"""Values of Parameters: `value` has become `value_clear`, with a sealed one beside it."""

import logging

from odoo.tools import sql

_logger = logging.getLogger("bj.api.migration")
TABLE = "bj_api_sync_param"


def migrate(cr, version):
    if not sql.column_exists(cr, TABLE, "value"):
        return
    if not sql.column_exists(cr, TABLE, "value_clear"):
        sql.rename_column(cr, TABLE, "value", "value_clear")
        return
    recover(cr)
    cr.execute(f"ALTER TABLE {TABLE} DROP COLUMN value")


def recover(cr):
    """Bring back what an upgrade without this script has left in the old column.

    Only where nothing has been typed since, which the time of the last change tells. A
    neutralized copy has lost what its Out configurations send on purpose.
    """
    cr.execute(
        """
        WITH lost AS (
            SELECT p.id, p.config_id, p.name,
                   COALESCE(p.write_date > d.create_date, FALSE) AS is_touched
            FROM bj_api_sync_param p
            JOIN bj_api_sync_config c ON c.id = p.config_id
            LEFT JOIN ir_model_data d ON d.module = 'bj_api_sync'
                AND d.name = 'field_bj_api_sync_param__value_clear'
            WHERE p.value != '' AND p.value_clear IS NULL AND p.value_secret IS NULL
                AND NOT (c.request_type = 'out' AND EXISTS (
                    SELECT FROM ir_config_parameter
                    WHERE key = 'database.is_neutralized' AND value != ''))
        ), found AS (
            UPDATE bj_api_sync_param p SET value_clear = p.value
            FROM lost WHERE lost.id = p.id AND NOT lost.is_touched
        )
        SELECT name, config_id FROM lost WHERE is_touched ORDER BY id
        """
    )
    for name, config_id in cr.fetchall():
        _logger.warning(
            'Parameter "%s" of configuration %s has been changed since an earlier upgrade '
            "emptied its Value: see whether it should have one",
            name,
            config_id,
        )
