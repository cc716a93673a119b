from contextlib import contextmanager

from odoo.sql_db import db_connect
from odoo.tests import TransactionCase

from ..models.bj_api_sync_give_way import LOCK, is_asked, is_untouched
from .outbound_common import OutboundCase


@contextmanager
def somebody_asking(env):
    """Ask senders to give way, as another process does."""
    with db_connect(env.cr.dbname).cursor() as cr:
        cr.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [LOCK])
        yield


class TestGiveWay(OutboundCase):
    def test_a_pass_that_is_asked_claims_nothing_and_the_next_one_sends_all(self):
        config = self._make_config()
        deliveries = self._enqueue(config, self._make_partner())
        with somebody_asking(self.env):
            self.assertTrue(is_asked(self.env.cr))
            self.assertEqual(self._send(), 0)
        self.assertEqual(deliveries.mapped("state"), ["pending"])
        self.assertEqual(deliveries.mapped("attempt_count"), [0])
        self.assertFalse(self.receiver.requests)
        self.assertFalse(is_asked(self.env.cr))
        self.assertEqual(self._send(), 1)
        self.assertEqual(deliveries.state, "delivered")


class TestUntouched(TransactionCase):
    def test_a_transaction_that_has_written_or_is_to_do_something_is_not(self):
        with db_connect(self.cr.dbname).cursor() as cr:
            env = self.env(cr=cr)
            self.assertTrue(is_untouched(env))
            cr.postcommit.add(lambda: None)
            self.assertFalse(is_untouched(env))
            cr.postcommit.clear()
            self.assertTrue(is_untouched(env))
            cr.execute("SELECT FROM res_users WHERE id = 1 FOR NO KEY UPDATE")
            self.assertFalse(is_untouched(env))
            cr.rollback()
