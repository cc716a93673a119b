"""Seal what was kept in clear: secret Parameters, and secrets in URLs of deliveries."""

import logging

from odoo import SUPERUSER_ID, api
from odoo.exceptions import UserError
from odoo.tools import SQL

_logger = logging.getLogger("bj.api.migration")
BATCH = 10_000  # rows in memory at a time


def migrate(cr, version):
    env = api.Environment(cr, SUPERUSER_ID, {})
    params = env["bj.api.sync.param"].search([("value_clear", "!=", False)])
    params = params.filtered(lambda param: param._is_secret(param.value_clear))
    urls = find_urls(env)
    if not params and not urls:
        return
    try:
        check_key(env)
        for param in params:
            param._store_value(param.value_clear)
        seal_urls(env, urls)
    except UserError as error:
        # What is sealed with a key that the servers do not have would be lost.
        _logger.warning("Some secrets stay as they were, unencrypted: %s", error)


def check_key(env):
    """Raise UserError if this installation cannot open the secrets that there are."""
    env.cr.execute(
        """SELECT COALESCE(bearer_token_secret, auth_password_secret,
                           signing_secret_secret)
           FROM bj_api_sync_config WHERE request_type = 'out'"""
    )
    secrets = [sealed for (sealed,) in env.cr.fetchall() if sealed]
    for sealed in secrets[:1] or [env["bj.api.sync.secret"]._encrypt("any")]:
        env["bj.api.sync.secret"]._decrypt(sealed)


def find_urls(env):
    """Return ``[(id, URL, URL as it may be shown)]`` of those that show a secret."""
    redactor, _limit = env["bj.api.log"]._get_redactor()
    found, last = [], 0
    while True:
        env.cr.execute(
            """SELECT id, url FROM bj_api_sync_delivery
               WHERE id > %s AND url != '' AND url_secret IS NULL
               ORDER BY id LIMIT %s""",
            [last, BATCH],
        )
        rows = env.cr.fetchall()
        if not rows:
            return found
        last = rows[-1][0]
        for row_id, url in rows:
            shown = redactor.query(url)
            if shown != url:
                found.append((row_id, url, shown))


def seal_urls(env, urls):
    encrypt = env["bj.api.sync.secret"]._encrypt
    for row_id, url, shown in urls:
        env.cr.execute(
            SQL(
                "UPDATE bj_api_sync_delivery SET url = %s, url_secret = %s WHERE id = %s",
                shown,
                encrypt(url),
                row_id,
            )
        )
