from odoo.tests.common import TransactionCase

from .common import enter_test_mode
from .receiver import Receiver

LINES = {
    "ref": {"field_path": "ref", "is_record_identifier": True},
    "name": "name",
    "email": "email",
}


class OutboundCase(TransactionCase):
    """Out configurations whose requests go to a real receiver on loopback.

    ``cr.commit`` is forbidden in tests: :meth:`_commit` does what matters of it here,
    and :meth:`_send` is one pass of a sender.
    """

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.receiver = cls.enterClassContext(Receiver())

    def setUp(self):
        super().setUp()
        self.receiver.clear()
        enter_test_mode(self)
        self.env.cr.postcommit.clear()

    def _make_config(self, method="POST", path="/orders", lines=None, **vals):
        """Return an Out configuration of contacts."""
        method_record = self.env["bj.http.method"].search([("name", "=", method)])
        commands = [
            (0, 0, {"api_key": key, **({"field_path": v} if isinstance(v, str) else v)})
            for key, v in (LINES if lines is None else lines).items()
        ]
        return self.env["bj.api.sync.config"].create(
            {
                "name": f"{method} {path}",
                "request_type": "out",
                "model_id": self.env.ref("base.model_res_partner").id,
                "http_method_ids": [(6, 0, method_record.ids)],
                "auth_type": "none",
                "url": self.receiver.url(path),
                "line_ids": commands,
                **vals,
            }
        )

    def _make_partner(self, name="Ada", ref="C1", **vals):
        return self.env["res.partner"].create({"name": name, "ref": ref, **vals})

    def _trigger(self, config, records, event="write"):
        self.env["bj.api.sync.outbound"]._trigger(config, records, event)

    def _enqueue(self, config, records, event="write"):
        """Trigger in a transaction of its own, and return the deliveries."""
        self._trigger(config, records, event)
        return self._commit(config)

    def _commit(self, config=None):
        self.env.cr.flush()
        self.env.cr.postcommit.clear()
        return self._get_deliveries(config) if config else None

    def _get_deliveries(self, config):
        self.env.invalidate_all()
        domain = [("config_id", "in", config.ids)]
        return self.env["bj.api.sync.delivery"].search(domain, order="id")

    def _send(self, **kwargs):
        """Run a pass, and return the number of attempts that were settled."""
        self.env.flush_all()
        count = self.env["bj.api.sync.sender"]._send_due(**kwargs)
        self.env.invalidate_all()
        return count

    def _run_cron(self, cron):
        """Run a scheduled action as the scheduler does: 19.0 commits at its end."""
        self.env.flush_all()
        with self.registry.cursor() as cr:
            cron = cron.with_env(cron.env(cr=cr))
            cron._callback("Send", cron.sudo().ir_actions_server_id.id)
        self.env.invalidate_all()

    def _make_due(self, deliveries):
        """Let the time until the next attempt have passed."""
        self.env.cr.execute(
            """UPDATE bj_api_sync_delivery SET next_attempt_date = '2020-01-01'
               WHERE id IN %s AND state = 'pending'""",
            [tuple(deliveries.ids)],
        )
        self.env.invalidate_all()

    def _bodies(self):
        return [request.json() for request in self.receiver.requests]
