from unittest.mock import patch

from odoo.tests import tagged

from ..models import bj_api_sync_gate as gate_module
from ..models.bj_api_log_apart import record_apart
from .common import PARTNER_LINES, ApiCase

LIMIT = 3


@tagged("post_install", "-at_install")
class TestStrangers(ApiCase):
    """Who fills the log: nobody who is known by nothing."""

    def setUp(self):
        super().setUp()
        self.patch(gate_module, "MAX_STRANGER_ROWS", LIMIT)
        self.open = self.make_config(
            PARTNER_LINES, endpoint="open", auth_type="none", user_id=self.user.id
        )

    def _count(self, config, call, times=LIMIT + 3, **vals):
        """Return how many rows so many calls have left."""
        logs = self.env["bj.api.log"]
        before = logs.search_count([("config_id", "=", config.id)])
        for _number in range(times):
            call()
        return logs.search_count([("config_id", "=", config.id)]) - before

    def _record(self, config, **vals):
        vals = {
            "direction": "in",
            "status": "error",
            "config_id": config.id,
            "remote_addr": "192.0.2.7",
            **vals,
        }
        self.env.flush_all()
        record_apart(self.env.registry, "full", vals)

    def test_refused_calls_of_an_open_endpoint_are_strangers(self):
        def call():
            response = self._call("POST", "open", {"email": {"a": 1}}, token=None)
            self.assertEqual(response.status_code, 400)

        self.assertEqual(self._count(self.open, call), LIMIT)
        last = self.env["bj.api.log"].search(
            [("config_id", "=", self.open.id)], order="id desc", limit=1
        )
        self.assertIn("more calls of it", last.details)

    def test_what_an_open_endpoint_does_is_kept_in_full(self):
        def call():
            response = self._call("GET", "open?limit=1", token=None)
            self.assertEqual(response.status_code, 200)

        self.assertEqual(self._count(self.open, call), LIMIT + 3)
        self.assertEqual(
            self._count(self.open, lambda: self._record(self.open, status="success")),
            LIMIT + 3,
        )

    def test_only_a_credential_makes_a_caller_known(self):
        self.env["bj.api.sync.config"]._get_endpoints()
        for vals, kept in (
            ({"auth_type": "none"}, LIMIT),
            ({"auth_type": "bearer"}, LIMIT + 3),
            ({"auth_type": "none", "header": True}, LIMIT + 3),
        ):
            with self.subTest(vals=vals):
                self.env["bj.api.sync.counter"].search([]).sudo().unlink()
                if vals.pop("header", False):
                    vals["header_ids"] = [(0, 0, {"name": "X-Key", "value": "abc"})]
                self.open.write({**vals, "user_id": self.user.id})
                self.assertEqual(
                    self._count(self.open, lambda: self._record(self.open)), kept
                )

    def test_addresses_are_counted_apart_and_what_is_sent_not_at_all(self):
        numbers = iter(range(100))

        def from_anywhere():
            self._record(self.open, remote_addr=f"192.0.2.{next(numbers)}")

        self.assertEqual(self._count(self.open, from_anywhere), LIMIT + 3)
        self.assertEqual(
            self._count(self.open, lambda: self._record(self.open, direction="out")),
            LIMIT + 3,
        )
        with patch.object(type(self.open), "_get_endpoints", lambda self: {}):
            self.assertEqual(
                self._count(self.open, lambda: self._record(self.open)), LIMIT + 3
            )
