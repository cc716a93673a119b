from odoo.modules.neutralize import get_neutralization_queries
from odoo.tests import tagged

from .outbound_common import OutboundCase


@tagged("post_install", "-at_install")
class TestNeutralize(OutboundCase):
    def _neutralize(self):
        self.env.flush_all()
        for query in get_neutralization_queries(["base", "bj_api_sync"]):
            self.env.cr.execute(query)
        self.env.invalidate_all()
        self.env.registry.clear_all_caches()

    def test_a_copy_sends_nothing_and_knows_no_secret(self):
        config = self._make_config(
            auth_type="bearer",
            bearer_token="secret-token-12345",
            header_ids=[
                (0, 0, {"name": "X-Key", "value": "hidden", "is_secret": True})
            ],
        )
        delivery = self._enqueue(config, self._make_partner())
        self._neutralize()
        self.assertEqual(delivery.state, "cancelled")
        self.assertFalse(config.bearer_token)
        self.assertFalse(config.header_ids.value)
        self.assertNotIn("127.0.0.1", config.url)
        # Even if somebody types the address in again.
        config.url = self.receiver.url("/orders")
        later = self._enqueue(config, self._make_partner(ref="C2")) - delivery
        self.assertEqual(later.state, "cancelled")
        self.assertEqual(self._send(), 0)
        self.assertFalse(config._make_outbound_http_request(self._make_partner()))
        self.assertFalse(self.receiver.requests)

    def test_tokens_of_callers_are_gone(self):
        tokens = self.env["bj.api.sync.token"]
        config = self.env["bj.api.sync.config"].create(
            {
                "name": "In",
                "model_id": self.env.ref("base.model_res_partner").id,
                "http_method_ids": [
                    (6, 0, self.env.ref("bj_api_sync.bj_http_method_get").ids)
                ],
            }
        )
        tokens._generate(config, "test")
        self._neutralize()
        self.assertFalse(tokens.with_context(active_test=False).search([]))
