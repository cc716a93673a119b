"""Hosts have become hosts and credentials: what is known of one holds for those who ask.

A pause, or a moment before which the other side wants no more, was the host's for all
configurations. Its row goes to the credentials that are used with the host, or what
Retry-After asked for would be forgotten, and the pause of nobody would stay for ever.
"""

from odoo import SUPERUSER_ID, api
from odoo.addons.bj_api_sync.models.bj_api_sync_outbound import get_destination

COLUMNS = "hold_until, failures, openings, opened_until, probing, last_error, config_id"


def migrate(cr, version):
    env = api.Environment(cr, SUPERUSER_ID, {})
    cr.execute("SELECT id, name FROM bj_api_sync_destination WHERE credential = ''")
    hosts = {name: row_id for row_id, name in cr.fetchall()}
    used = find_credentials(env) if hosts else {}
    for host, row_id in hosts.items():
        credentials = used.get(host, set())
        for credential in credentials - {""}:
            cr.execute(
                # Only the names of columns above are put in.
                f"""INSERT INTO bj_api_sync_destination (name, credential, {COLUMNS})
                    SELECT name, %s, {COLUMNS} FROM bj_api_sync_destination
                    WHERE id = %s ON CONFLICT (name, credential) DO NOTHING""",  # nosec B608
                [credential, row_id],
            )
        if credentials and "" not in credentials:
            cr.execute("DELETE FROM bj_api_sync_destination WHERE id = %s", [row_id])


def find_credentials(env):
    """Return ``{host: names of the credentials that configurations send it}``."""
    configs = env["bj.api.sync.config"].with_context(active_test=False)
    configs = configs.search([("request_type", "=", "out")])
    env.cr.execute(
        """SELECT DISTINCT config_id, destination FROM bj_api_sync_delivery
           WHERE state = 'pending' AND destination != ''"""
    )
    pairs = {(config.id, get_destination(config.url)) for config in configs}
    pairs.update(env.cr.fetchall())
    used = {}
    for config_id, host in pairs:
        config = configs.browse(config_id)
        used.setdefault(host, set()).add(config._get_credential() or "")
    return used
