import requests
from odoo import models


class BjBenchOutbound(models.AbstractModel):
    _inherit = "bj.bench.outbound"

    def _run_queue_job(self, partners, url):
        for partner in partners:
            self.with_delay()._push(partner.id, url)

    def _push(self, partner_id, url):
        partner = self.env["res.partner"].browse(partner_id)
        values = {"odoo_id": partner.id, "name": partner.name, "email": partner.email}
        requests.post(url, json=values, timeout=10).raise_for_status()
