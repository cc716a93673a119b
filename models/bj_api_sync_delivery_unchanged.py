from odoo import api, models

from ..tools import payload
from ..tools import url as url_tools
from ..tools.message import loads_foreign


class BjApiSyncDelivery(models.Model):
    """Which records say the same as in the last delivery that holds them."""

    _inherit = "bj.api.sync.delivery"

    @api.model
    def _get_unchanged(self, config, rows):
        """Return the ids of records about which rows say what was said the last time.

        What is on its way counts as said, what has failed or was cancelled does not. Of a
        batch, each record's part is compared; if a script has given it another shape than
        a list with an entry for each record, only the whole can be.
        """
        last = self._get_last(config, {i for row in rows for i in row.ids})
        get_url = self._get_url_reader(config)
        unchanged = set()
        for row in rows:
            url = get_url(row.url, row.url_secret)
            parts = get_parts(row.res_id, row.record_ids, row.payload)
            same = {i for i, part in parts.items() if last.get(i) == (url, part)}
            if is_whole(parts) and len(same) < len(parts):
                same = set()
            unchanged |= same if not row.error else set()
        return unchanged

    @api.model
    def _get_last(self, config, record_ids):
        """Return ``{record id: (URL, its part of the payload)}`` of last deliveries."""
        self.env.cr.execute(
            """SELECT held.res_id, max(held.id) FROM (
                   SELECT res_id, id FROM bj_api_sync_delivery
                   WHERE config_id = %(config)s AND res_id = ANY(%(ids)s)
                   UNION ALL
                   SELECT unnest(record_ids), id FROM bj_api_sync_delivery
                   WHERE config_id = %(config)s AND record_ids && %(ids)s::integer[]
               ) AS held(res_id, id)
               WHERE held.res_id = ANY(%(ids)s) GROUP BY held.res_id""",
            {"config": config.id, "ids": list(record_ids)},
        )
        newest = dict(self.env.cr.fetchall())
        self.env.cr.execute(
            """SELECT id, res_id, record_ids, url, url_secret, payload
               FROM bj_api_sync_delivery
               WHERE id = ANY(%s) AND state IN ('pending', 'delivered')""",
            [list(set(newest.values()))],
        )
        get_url = self._get_url_reader(config)
        said = {
            row_id: (get_url(url, secret), get_parts(res_id, batch, body))
            for row_id, res_id, batch, url, secret, body in self.env.cr.fetchall()
        }
        return {
            record_id: (said[row_id][0], said[row_id][1][record_id])
            for record_id, row_id in newest.items()
            if row_id in said
        }

    @api.model
    def _get_url_reader(self, config):
        """Return the function that makes of the two columns the URL to be compared.

        Parameters of a batch are filled from its first record, whichever that was.
        """
        outbound = self.env["bj.api.sync.outbound"]
        values = outbound._get_params(config).values()
        texts = [t for v in values for t in (v if isinstance(v, list) else [v])]
        varies = outbound._is_batched(config) and any(
            url_tools.placeholders(text) for text in texts if isinstance(text, str)
        )

        def get_url(url, secret):
            whole = outbound._get_url(url, secret) or ""
            return whole.partition("?")[0] if varies else whole

        return get_url


def get_parts(res_id, record_ids, body):
    """Return ``{record id: what the payload of a delivery says about it}``.

    That is its text or, in a batch that has not an entry for each record, the ids of all
    records and the whole.
    """
    if not record_ids:
        return {res_id: body} if res_id else {}
    try:
        items = loads_foreign(body or "")
    except ValueError:
        items = None
    if isinstance(items, list) and len(items) == len(record_ids):
        texts = [payload.dumps(item).decode() for item in items]
        return dict(zip(record_ids, texts, strict=True))
    return dict.fromkeys(record_ids, (tuple(record_ids), body))


def is_whole(parts):
    return any(isinstance(part, tuple) for part in parts.values())
