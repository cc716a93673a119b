import json

from odoo.tools import mute_logger

from .outbound_common import OutboundCase
from .receiver import answer


def as_json(value, **kwargs):
    return answer(200, json.dumps(value), **kwargs)


class PullCase(OutboundCase):
    """Pulls of contacts whose ref begins with Q, from a receiver on loopback."""

    def setUp(self):
        super().setUp()
        self.items = [{"ref": f"Q{n}", "name": f"Pulled {n}"} for n in range(7)]

    def _make_pull(self, **vals):
        vals.setdefault("page_size", 2)
        return self._make_config("GET", "/items", **vals)

    def _serve(self, choose, path="/items"):
        """Answer each request by what ``choose`` returns for its query."""

        def act(exchange):
            query = dict(self.receiver.requests[-1].query)
            return choose(query)(exchange)

        self.receiver.on(path, act)

    def _pull(self, config, is_now=False):
        """Pull to the end; return the contacts and the report."""
        with mute_logger("bj.api.sender", "bj.api.pull"):
            if is_now:
                config._make_outbound_http_request()
            else:
                config._run_schedule()
                self._commit()
                for _page in range(60):
                    if not self._send():
                        break
        self.env.invalidate_all()
        return self._get_pulled(), self._get_report(config)

    def _get_pulled(self):
        return self.env["res.partner"].search([("ref", "=like", "Q%")], order="ref")

    def _get_report(self, config):
        """Return the last log row about a pull as a whole."""
        self.env.flush_all()
        domain = [("config_id", "=", config.id), ("name", "=like", "Pull: %")]
        return self.env["bj.api.log"].search(domain, order="id desc", limit=1)

    def _assert_complete(self, config, report, count):
        self.assertEqual(report.status, "success", report.error_message)
        self.assertEqual(len(self._get_pulled()), count)
        self.assertTrue(config.last_sync_date, "the watermark moves")
        states = set(self._get_deliveries(config).mapped("state"))
        self.assertEqual(states, {"delivered"})

    def _assert_incomplete(self, config, report, count, *words):
        """Assert that a pull ended as an error with what came kept."""
        self.assertEqual(report.status, "error")
        for word in words:
            self.assertIn(word, report.error_message)
        self.assertEqual(len(self._get_pulled()), count)
        self.assertFalse(config.last_sync_date, "the watermark stays")
        last = self._get_deliveries(config)[-1]
        self.assertEqual(last.state, "failed")
        for word in words:
            self.assertIn(word, last.last_error)
