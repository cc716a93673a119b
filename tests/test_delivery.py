import json
from datetime import datetime, timedelta
from unittest.mock import patch

from cryptography.fernet import Fernet
from odoo import tools
from odoo.exceptions import UserError
from odoo.tests import new_test_user, tagged
from odoo.tools import mute_logger

from .. import compat
from ..compat import group_users
from ..models import bj_api_sync_sender as sender_module
from ..models.bj_api_sync_config import MASK
from ..tools import transport
from .outbound_common import LINES, OutboundCase
from .receiver import answer, html, redirect, reset, retry_after


@tagged("post_install", "-at_install")
class TestEnqueue(OutboundCase):
    def test_payload_is_frozen_and_the_last_one_of_a_transaction_wins(self):
        config = self._make_config()
        partner = self._make_partner()
        for name in ("Ada 1", "Ada 2", "Ada 3"):
            partner.name = name
            self._trigger(config, partner)
        delivery = self._commit(config)
        self.assertEqual(len(delivery), 1)
        partner.name = "Later"
        self.assertEqual(json.loads(delivery.payload)["name"], "Ada 3")
        self.assertRecordValues(
            delivery,
            [{"state": "pending", "method": "POST", "res_id": partner.id,
              "attempt_count": 0, "model": "res.partner"}],
        )  # fmt: skip
        self.assertEqual(delivery.res_ids, partner.ids)

    def test_a_trigger_after_a_savepoint_changes_the_same_delivery(self):
        config = self._make_config()
        partner = self._make_partner()
        self._trigger(config, partner, "create")
        with self.env.cr.savepoint():
            partner.name = "Within"
            self._trigger(config, partner)
        partner.name = "After"
        self._trigger(config, partner)
        delivery = self._commit(config)
        self.assertEqual(len(delivery), 1)
        self.assertEqual(json.loads(delivery.payload)["name"], "After")

    def test_what_a_savepoint_rolls_back_is_not_sent(self):
        config = self._make_config()
        partner = self._make_partner()
        for flush in (False, True):
            with self.subTest(flush=flush):
                savepoint = self.env.cr.savepoint()
                self._trigger(config, partner)
                if flush:
                    self.env.cr.flush()
                savepoint.close(rollback=True)
                self.assertFalse(self._commit(config))

    def test_a_later_trigger_makes_what_a_savepoint_took_along_again(self):
        config = self._make_config()
        partner = self._make_partner()
        savepoint = self.env.cr.savepoint()
        self._trigger(config, partner)
        self.env.cr.flush()
        savepoint.close(rollback=True)
        self._trigger(config, partner)
        self.assertEqual(len(self._commit(config)), 1)
        cron = self.env.ref("bj_api_sync.ir_cron_send")
        triggers = self.env["ir.cron.trigger"].search([("cron_id", "=", cron.id)])
        self.assertTrue(triggers, "the sender is woken though its wake-up was undone")

    def test_creation_comes_before_update_whatever_fires_first(self):
        create = self._make_config("POST", "/create")
        update = self._make_config("PUT", "/update/{ref}")
        partner = self._make_partner()
        self._trigger(update, partner)
        self._trigger(create, partner, "create")
        deliveries = self._commit(create | update)
        self.assertEqual(deliveries.mapped("method"), ["POST", "PUT"])

    def test_deletion_is_written_before_the_record_is_gone(self):
        config = self._make_config("DELETE", "/orders/{ref}", lines={"ref": {
            "field_path": "ref", "is_record_identifier": True}})  # fmt: skip
        partner = self._make_partner(ref="A/1")
        self._trigger(config, partner, "unlink")
        partner.unlink()
        delivery = self._commit(config)
        self.assertTrue(delivery.url.endswith("/orders/A%2F1"))
        self.assertFalse(delivery.payload, "the URL says it all")

    def test_a_record_created_and_deleted_in_one_transaction_is_sent_in_order(self):
        create = self._make_config("POST", "/create")
        delete = self._make_config("DELETE", "/orders/{ref}")
        partner = self._make_partner()
        self._trigger(create, partner, "create")
        self._trigger(delete, partner, "unlink")
        partner.unlink()
        deliveries = self._commit(create | delete)
        self.assertEqual(deliveries.mapped("method"), ["POST", "DELETE"])

    def test_records_outside_the_filter_domain_are_left_out(self):
        config = self._make_config(filter_domain="[('ref', '=like', 'C%')]")
        partners = self._make_partner() | self._make_partner(ref="D1")
        deliveries = self._enqueue(config, partners)
        self.assertEqual(deliveries.mapped("res_id"), partners[0].ids)

    def test_batches_hold_up_to_a_page_and_grow_within_their_transaction(self):
        config = self._make_config(is_paginated=True, page_size=3)
        partners = self.env["res.partner"].create(
            [{"name": f"P{n}", "ref": f"C{n}"} for n in range(8)]
        )
        self._trigger(config, partners[:4])
        with self.env.cr.savepoint():
            partners[1].name = "changed"
            self._trigger(config, partners[1] | partners[4:])
        deliveries = self._commit(config)
        self.assertEqual(
            deliveries.mapped("res_ids"),
            [partners[:3].ids, partners[3:6].ids, partners[6:].ids],
        )
        self.assertEqual(json.loads(deliveries[0].payload)[1]["name"], "changed")

    def test_a_failing_mapping_makes_a_failed_delivery_and_not_a_failed_save(self):
        cases = {
            "missing placeholder": {"url": self.receiver.url("/orders/{nothing}")},
            "empty placeholder": {"url": self.receiver.url("/orders/{email}")},
            "script": {"request_script": "request_data['x'] = 1 / 0"},
        }
        for name, vals in cases.items():
            with self.subTest(name), mute_logger("bj.api.outbound"):
                config = self._make_config(**vals)
                partners = self._make_partner() | self._make_partner(
                    ref="C2", email="b@example.com"
                )
                deliveries = self._enqueue(config, partners)
                self.assertEqual(deliveries[0].state, "failed")
                self.assertTrue(deliveries[0].last_error)
                good = deliveries[1].state == "pending"
                self.assertEqual(good, name == "empty placeholder")

    def test_request_script_changes_payload_headers_and_parameters(self):
        config = self._make_config(
            param_ids=[(0, 0, {"name": "shop", "value": "{ref}"})],
            header_ids=[(0, 0, {"name": "X-Shop", "value": "one"})],
            request_script="request_data['extra'] = record.name\n"
            "headers['X-Signed'] = sha256(record.ref)[:6]\n"
            "headers['X-Shop'] = 'two'\n"
            "params['page'] = 7",
        )
        delivery = self._enqueue(config, self._make_partner(ref="ö 1"))
        self._send()
        request = self.receiver.requests[0]
        self.assertEqual(request.json()["extra"], "Ada")
        self.assertEqual(len(request.headers["x-signed"]), 6)
        self.assertEqual(request.headers["x-shop"], "two")
        self.assertEqual(dict(request.query), {"shop": "ö 1", "page": "7"})
        self.assertNotIn("two", delivery.sudo().headers, "sealed, as a secret may be")


@tagged("post_install", "-at_install")
class TestSend(OutboundCase):
    def test_a_delivery_arrives_with_its_headers_and_leaves_a_log_row(self):
        config = self._make_config(
            auth_type="bearer",
            bearer_token="Bearer a-secret-token-1",
            header_ids=[
                (0, 0, {"name": "X-Key", "value": "hidden-1", "is_secret": True})
            ],
        )
        partner = self._make_partner()
        delivery = self._enqueue(config, partner)
        self.assertEqual(self._send(), 1)
        (request,) = self.receiver.requests
        self.assertEqual(request.headers["authorization"], "Bearer a-secret-token-1")
        self.assertEqual(request.headers["x-key"], "hidden-1")
        self.assertEqual(request.headers["idempotency-key"], delivery.uuid)
        self.assertEqual(request.headers["content-type"], "application/json")
        self.assertEqual(request.body.decode(), delivery.payload)
        self.assertRecordValues(
            delivery,
            [{"state": "delivered", "attempt_count": 1, "last_status_code": 200,
              "last_error": False, "is_claimed": False}],
        )  # fmt: skip
        self.assertTrue(delivery.delivered_date)
        log = delivery.log_ids
        self.assertRecordValues(
            log,
            [{"status": "success", "direction": "out", "attempt": 1,
              "record_id": partner.id, "response_code": 200}],
        )  # fmt: skip
        for secret in ("a-secret-token-1", "hidden-1"):
            self.assertNotIn(secret, log.request_headers)

    def test_basic_auth_form_content_and_signature(self):
        config = self._make_config(
            auth_type="basic",
            auth_login="ann",
            auth_password="pass",
            content_type="form",
            signing_secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        )
        delivery = self._enqueue(config, self._make_partner(email="a b@example.com"))
        self._send()
        (request,) = self.receiver.requests
        self.assertEqual(request.headers["authorization"], "Basic YW5uOnBhc3M=")
        self.assertEqual(request.body, b"ref=C1&name=Ada&email=a+b%40example.com")
        self.assertEqual(request.headers["webhook-id"], delivery.uuid)
        self.assertTrue(request.headers["webhook-signature"].startswith("v1,"))

    def test_each_answer_ends_as_it_should(self):
        other = f"http://localhost:{self.receiver.port}/elsewhere"
        for behaviour, state, status in [
            (answer(201), "delivered", 201),
            (html(200), "delivered", 200),
            (answer(400, b'{"error": "name is missing"}'), "failed", 400),
            (answer(401), "failed", 401),
            (answer(404), "failed", 404),
            (redirect(other), "failed", 302),
            (answer(408), "pending", 408),
            (answer(409), "pending", 409),
            (answer(425), "pending", 425),
            (answer(500), "pending", 500),
            (answer(503), "pending", 503),
            (reset(), "pending", 0),
        ]:
            with self.subTest(status=status, state=state):
                self.receiver.clear()
                self.receiver.on("/orders", behaviour)
                config = self._make_config()
                delivery = self._enqueue(config, self._make_partner())
                self._send()
                self.assertEqual(len(self.receiver.requests), 1)
                self.assertRecordValues(
                    delivery,
                    [{"state": state, "last_status_code": status,
                      "attempt_count": 1}],
                )  # fmt: skip
                self.assertEqual(bool(delivery.last_error), state != "delivered")
                config.unlink()

    def test_500_twice_then_200_is_delivered_under_one_key(self):
        self.receiver.on("/orders", answer(500), answer(500), answer(200))
        delivery = self._enqueue(self._make_config(), self._make_partner())
        for number in (1, 2, 3):
            self._make_due(delivery)
            self._send()
            self.assertEqual(delivery.attempt_count, number)
        self.assertEqual(delivery.state, "delivered")
        self.assertEqual(sorted(delivery.log_ids.mapped("attempt")), [1, 2, 3])
        keys = {
            request.headers["idempotency-key"] for request in self.receiver.requests
        }
        self.assertEqual(keys, {delivery.uuid})

    def test_attempts_end_at_the_maximum(self):
        self.receiver.on("/orders", answer(500))
        delivery = self._enqueue(
            self._make_config(max_attempts=2), self._make_partner()
        )
        for _attempt in range(3):
            self._make_due(delivery)
            self._send()
        self.assertRecordValues(delivery, [{"state": "failed", "attempt_count": 2}])

    def test_a_conflict_is_tried_once_more(self):
        self.receiver.on("/orders", answer(409))
        delivery = self._enqueue(self._make_config(), self._make_partner())
        self._send()
        self.assertEqual(delivery.state, "pending")
        self._make_due(delivery)
        self._send()
        self.assertEqual(delivery.state, "failed")

    def test_retry_after_holds_the_whole_host(self):
        self.receiver.on("/orders", retry_after("120"), answer(200))
        config = self._make_config()
        other = self._make_config(path="/other")
        first = self._enqueue(config, self._make_partner())
        begun = datetime.utcnow()
        self._send()
        self.assertEqual(first.state, "pending")
        wait = first.next_attempt_date - begun
        self.assertGreater(wait, timedelta(seconds=110))
        self._enqueue(other, self._make_partner(ref="C2"))
        self.assertEqual(self._send(), 0, "another configuration of the same host")
        host = self.env["bj.api.sync.destination"].search(
            [("name", "=", f"127.0.0.1:{self.receiver.port}")]
        )
        self.assertEqual(host.state, "held")
        host.action_resume()
        self._make_due(first)
        self.assertEqual(self._send(), 2)

    def test_410_pauses_the_configuration_and_tells_administrators(self):
        self.receiver.on("/orders", answer(410))
        config = self._make_config()
        delivery = self._enqueue(config, self._make_partner())
        self._send()
        self.assertEqual(delivery.state, "failed")
        self.assertTrue(config.is_paused)
        self.assertTrue(config.activity_ids)
        waiting = self._enqueue(config, self._make_partner(ref="C2")) - delivery
        self.assertEqual(self._send(), 0)
        self.assertEqual(waiting.state, "pending", "it waits until it is resumed")
        config.action_resume()
        self.assertFalse(config.activity_ids)
        self.receiver.on("/orders", answer(200))
        self._send()
        self.assertEqual(waiting.state, "delivered")

    def test_a_failed_delivery_is_told_once_until_none_is_left(self):
        def told():
            return config.activity_ids.filtered(
                lambda activity: activity.activity_type_id == failed_type
            )

        failed_type = self.env.ref("bj_api_sync.mail_activity_type_failed")
        self.receiver.on("/orders", answer(400))
        config = self._make_config()
        first = self._enqueue(config, self._make_partner())
        second = self._enqueue(config, self._make_partner(ref="C2")) - first
        third = self._enqueue(config, self._make_partner(ref="C3")) - first - second
        self._send()
        administrators = group_users(self.env.ref("base.group_system"))
        self.assertEqual(told().user_id, administrators.filtered("active"))
        self.assertEqual(len(told()), len(told().user_id), "told once")
        self.assertIn("400", told()[0].note)
        first.action_cancel()
        self.assertEqual(first.state, "cancelled")
        second.action_rebuild_and_send()
        self.assertEqual(second.state, "superseded")
        self.assertTrue(told(), "one is still failed")
        third.action_send_again()
        self.assertFalse(told())
        self._send()
        self.assertTrue(told(), "and has failed again")

    def test_what_cannot_be_built_is_told_too(self):
        config = self._make_config(request_script="raise UserError('no price')")
        delivery = self._enqueue(config, self._make_partner())
        self.assertEqual(delivery.state, "failed")
        self.assertIn("no price", config.activity_ids[:1].note)

    def test_words_of_the_other_side_are_text_in_what_administrators_are_told(self):
        config = self._make_config(
            request_script="raise UserError('<a href=\"https://evil.example\">x</a>')"
        )
        self._enqueue(config, self._make_partner())
        note = config.activity_ids[:1].note
        self.assertIn("&lt;a href=", note)
        self.assertNotIn("<a ", note)

    def test_ten_failures_in_a_row_pause_the_host_until_a_probe_succeeds(self):
        self.receiver.on("/orders", answer(500))
        config = self._make_config()
        partners = self.env["res.partner"].create(
            [{"name": f"P{n}", "ref": f"C{n}"} for n in range(12)]
        )
        deliveries = self._enqueue(config, partners[:10])
        self._send()
        host = self.env["bj.api.sync.destination"].search(
            [("name", "=", f"127.0.0.1:{self.receiver.port}")]
        )
        self.assertEqual(host.state, "open")
        count = len(config.activity_ids)
        self.assertTrue(count)
        self._make_due(deliveries)
        self.receiver.clear()
        self.assertEqual(self._send(), 0, "nothing while it is open")
        self._let_pass(host)
        self.receiver.on("/orders", answer(500))
        self.assertEqual(self._send(), 1, "one probe, which fails")
        self.assertEqual(len(config.activity_ids), count, "told once")
        self._let_pass(host)
        self._make_due(deliveries)
        self.receiver.on("/orders", answer(200))
        self.assertEqual(self._send(), 10, "the probe succeeds, all others follow")
        self.assertEqual(host.state, "closed")
        self.assertFalse(config.activity_ids)

    def _let_pass(self, host):
        self.env.cr.execute(
            """UPDATE bj_api_sync_destination SET opened_until = '2020-01-01'
               WHERE id = %s""",
            [host.id],
        )
        self.env.invalidate_all()

    def test_a_missing_encryption_key_stops_sending_and_loses_nothing(self):
        config = self._make_config(
            auth_type="bearer", bearer_token="secret-token-12345"
        )
        delivery = self._enqueue(config, self._make_partner())
        self.env.cr.execute(
            "UPDATE bj_api_sync_config SET bearer_token_secret = 'sealed otherwise'"
        )
        self.env.invalidate_all()
        with mute_logger("bj.api.sender"):
            self.assertEqual(self._send(), 0)
        self.assertRecordValues(delivery, [{"state": "pending", "attempt_count": 0}])
        self.assertIn("bj_api_sync_key", delivery.last_error)
        self.assertFalse(self.receiver.requests)

    def test_a_stale_result_does_not_overwrite_a_newer_attempt(self):
        delivery = self._enqueue(self._make_config(), self._make_partner())
        sender = self.env["bj.api.sync.sender"]
        outbound = self.env["bj.api.sync.outbound"]
        deliveries = self.env["bj.api.sync.delivery"]
        (stale,) = deliveries._take(delivery.ids, [])
        (current,) = deliveries._take(delivery.ids, [])
        target = outbound._get_target(delivery.config_id)
        request = outbound._prepare_request(stale, target)
        response = transport.send(request)
        sender._settle([(outbound._judge(stale, target, request, response), response)])
        self.env.invalidate_all()
        self.assertEqual(delivery.state, "pending")
        self.assertEqual(delivery.log_ids.attempt, 1, "its log row stays as evidence")
        sender._settle(
            [(outbound._judge(current, target, request, response), response)]
        )
        self.env.invalidate_all()
        self.assertEqual(delivery.state, "delivered")

    def test_a_claim_counts_the_attempt_and_leases_the_row(self):
        delivery = self._enqueue(self._make_config(), self._make_partner())
        begun = datetime.utcnow()
        self.env["bj.api.sync.delivery"]._take(delivery.ids, [])
        self.env.invalidate_all()
        self.assertRecordValues(
            delivery, [{"state": "pending", "attempt_count": 1, "is_claimed": True}]
        )
        lease = delivery.next_attempt_date - begun
        self.assertGreater(lease, timedelta(seconds=30), "longer than the attempt")
        self.assertEqual(self._send(), 0)
        self._make_due(delivery)  # whoever claimed it is dead
        self.assertEqual(self._send(), 1)
        self.assertRecordValues(delivery, [{"state": "delivered", "attempt_count": 2}])


@tagged("post_install", "-at_install")
class TestPass(OutboundCase):
    def setUp(self):
        super().setUp()
        self.cron = self.env.ref("bj_api_sync.ir_cron_send")
        self.receiver.on("/orders", answer(delay=0.5))
        self.config = self._make_config()
        partners = self.env["res.partner"].create(
            [{"name": f"P{number}", "ref": f"P{number}"} for number in range(60)]
        )
        self.deliveries = self._enqueue(self.config, partners)
        self.triggers = self.env["ir.cron.trigger"].search([])

    def test_nothing_is_begun_after_its_time_and_it_is_called_again(self):
        count = self._send(seconds=0.3)
        self.assertGreater(count, 0)
        states = self.deliveries.mapped("state")
        self.assertEqual(states.count("delivered"), count)
        self.assertEqual(states.count("pending"), len(states) - count)
        self.assertGreater(len(states), count)
        waiting = self.deliveries.filtered(lambda row: row.state == "pending")
        self.assertFalse(any(waiting.mapped("is_claimed")))
        self.assertFalse(any(waiting.mapped("attempt_count")))
        again = self.env["ir.cron.trigger"].search([]) - self.triggers
        self.assertIn(self.cron, again.cron_id)

    def test_no_more_is_looked_for_while_the_host_has_all_that_it_may_have(self):
        claims = []

        def claim(model, run):
            claims.append(super_claim(model, run))
            return claims[-1]

        sender = type(self.env["bj.api.sync.sender"])
        super_claim = sender._claim_jobs
        self.patch(sender, "_claim_jobs", claim)
        self._send(seconds=0.2)
        self.assertEqual([count for count, _is_backlog in claims], [24])

    def test_the_scheduler_is_told_of_the_progress_and_that_nothing_remains(self):
        progress = self.env["ir.cron.progress"].create({"cron_id": self.cron.id})
        seen = []

        def notify(env, done, remaining):
            seen.append((done, remaining))
            with patch.object(env.cr, "commit"):  # which 19.0 does there
                super_notify(env, done, remaining)

        super_notify = compat.notify_progress
        self.patch(compat, "notify_progress", notify)
        sender = self.env["bj.api.sync.sender"].with_context(
            cron_id=self.cron.id, ir_cron_progress_id=progress.id
        )
        self.env.flush_all()
        with patch.object(sender_module, "PROGRESS_SECONDS", 0.2):
            count = sender._send_due(seconds=0.3)
        self.assertGreater(max(remaining for _done, remaining in seen), 0)
        # Odoo calls an action again at once while something remains: longer than its
        # watchdog waits.
        self.assertLess(count, len(self.deliveries))
        self.assertEqual(seen[-1], (count, 0))
        self.assertEqual(progress.done, count)


class TestOrder(OutboundCase):
    def test_a_newer_payload_supersedes_those_that_wait(self):
        config = self._make_config("PUT")
        partner = self._make_partner()
        for name in ("one", "two", "three"):
            partner.name = name
            deliveries = self._enqueue(config, partner)
        self._send()
        self.assertEqual(
            deliveries.mapped("state"), ["superseded", "superseded", "delivered"]
        )
        self.assertEqual([body["name"] for body in self._bodies()], ["three"])

    def test_a_newer_payload_replaces_one_that_waits_for_its_next_attempt(self):
        self.receiver.on("/orders", answer(500), answer(200))
        config = self._make_config("PUT")
        partner = self._make_partner()
        first = self._enqueue(config, partner)
        self._send()
        self.assertEqual(first.state, "pending")
        partner.name = "newer"
        deliveries = self._enqueue(config, partner)
        self._send()
        self.assertEqual(deliveries.mapped("state"), ["superseded", "delivered"])

    def test_a_host_gets_creation_before_update_before_deletion(self):
        create = self._make_config("POST", "/create")
        update = self._make_config("PUT", "/update")
        delete = self._make_config("DELETE", "/delete")
        partner, other = self._make_partner(), self._make_partner(ref="C2")
        for config in (create, update, delete):
            self._enqueue(config, partner)
        # Its own path: which of two requests at once meets the 503 is chance.
        self._enqueue(self._make_config("POST", "/other"), other)
        self.receiver.on("/create", answer(503), answer(200))
        self._send()
        paths = sorted(request.path for request in self.receiver.requests)
        self.assertEqual(
            paths, ["/create", "/other"], "one record waits, not the other"
        )
        self._make_due(self._get_deliveries(create))
        self._send()
        paths = [request.path for request in self.receiver.requests]
        self.assertEqual(paths[2:], ["/create", "/update", "/delete"])

    def test_an_archived_configuration_keeps_back_no_other(self):
        archived, other = self._make_config(), self._make_config("PUT", "/orders/{ref}")
        partner = self._make_partner()
        waiting = self._enqueue(archived, partner, "create")
        archived.active = False
        delivery = self._enqueue(other, partner)
        self._send()
        self.assertEqual(delivery.state, "delivered")
        self.assertEqual(waiting.state, "pending")
        archived.active = True
        self._send()
        self.assertEqual(waiting.state, "delivered")

    def test_batches_and_single_records_keep_their_order(self):
        batch = self._make_config("POST", "/batch", is_paginated=True, page_size=5)
        single = self._make_config("PUT", "/single")
        partners = self._make_partner() | self._make_partner(ref="C2")
        self._enqueue(batch, partners)
        self._enqueue(single, partners[0])
        self._enqueue(batch, partners[1])
        self.receiver.on("/batch", answer(503), answer(200))
        self._send()
        first = self._get_deliveries(batch)[0]
        self.assertEqual(len(self.receiver.requests), 1)
        self._make_due(first)
        self._send()
        paths = [request.path for request in self.receiver.requests]
        self.assertEqual(paths[1], "/batch")
        self.assertEqual(sorted(paths[2:]), ["/batch", "/single"])

    def test_a_bigger_batch_supersedes_what_it_holds(self):
        config = self._make_config("PUT", is_paginated=True, page_size=5)
        partners = self._make_partner() | self._make_partner(ref="C2")
        self._enqueue(config, partners[0])
        deliveries = self._enqueue(config, partners)
        self._send()
        self.assertEqual(deliveries.mapped("state"), ["superseded", "delivered"])

    def test_a_row_on_its_way_is_neither_superseded_nor_overtaken(self):
        config = self._make_config("PUT")
        partner = self._make_partner()
        first = self._enqueue(config, partner)
        self.env["bj.api.sync.delivery"]._take(first.ids, [])
        deliveries = self._enqueue(config, partner)
        self.assertEqual(self._send(), 0)
        self.assertEqual(deliveries.mapped("state"), ["pending", "pending"])


@tagged("post_install", "-at_install")
class TestButtons(OutboundCase):
    def test_send_again_sends_the_same_bytes_under_the_same_key(self):
        self.receiver.on("/orders", answer(404), answer(200))
        partner = self._make_partner()
        delivery = self._enqueue(self._make_config(), partner)
        self._send()
        self.assertEqual(delivery.state, "failed")
        partner.name = "changed since"
        delivery.action_send_again()
        self.assertRecordValues(
            delivery,
            [{"state": "pending", "last_error": False, "last_status_code": 0}],
        )
        self._send()
        self.assertRecordValues(delivery, [{"state": "delivered", "attempt_count": 2}])
        first, second = self.receiver.requests
        self.assertEqual(first.body, second.body)
        self.assertEqual(
            first.headers["idempotency-key"], second.headers["idempotency-key"]
        )

    def test_send_again_gives_all_attempts_anew(self):
        self.receiver.on("/orders", answer(500))
        delivery = self._enqueue(
            self._make_config(max_attempts=1), self._make_partner()
        )
        self._send()
        delivery.config_id.max_attempts = 2
        delivery.action_send_again()
        self._send()
        self.assertRecordValues(delivery, [{"state": "pending", "attempt_count": 2}])

    def test_rebuild_takes_the_records_as_they_are_now(self):
        partner = self._make_partner()
        config = self._make_config()
        delivery = self._enqueue(config, partner)
        partner.name = "now"
        delivery.action_rebuild_and_send()
        self.assertEqual(
            self._commit(config).mapped("state"), ["superseded", "pending"]
        )
        self._send()
        self.assertEqual([body["name"] for body in self._bodies()], ["now"])

    def test_what_could_not_be_built_is_not_sent_again_without_a_body(self):
        config = self._make_config(url=self.receiver.url("/orders/{email}"))
        with mute_logger("bj.api.outbound"):
            delivery = self._enqueue(config, self._make_partner())
        with self.assertRaisesRegex(UserError, "Rebuild and Send"):
            delivery.action_send_again()
        other = self._enqueue(
            config, self._make_partner(ref="C2", email="b@example.com")
        )
        (delivery | other).action_send_again()
        self._send()
        self.assertEqual(delivery.state, "failed")
        self.assertEqual(len(self.receiver.requests), 1)

    def test_cancel_spares_what_is_being_sent(self):
        config = self._make_config()
        partners = self._make_partner() | self._make_partner(ref="C2")
        deliveries = self._enqueue(config, partners)
        self.env["bj.api.sync.delivery"]._take(deliveries[0].ids, [])
        self.env.invalidate_all()
        deliveries.action_cancel()
        self.assertEqual(deliveries.mapped("state"), ["pending", "cancelled"])
        self.assertEqual(self._send(), 0)


@tagged("post_install", "-at_install")
class TestVacuum(OutboundCase):
    def test_what_is_over_goes_after_its_days(self):
        config = self._make_config()
        partners = self.env["res.partner"].create(
            [{"name": f"P{n}", "ref": f"C{n}"} for n in range(5)]
        )
        deliveries = self._enqueue(config, partners)
        for delivery, (state, days) in zip(
            deliveries,
            [("delivered", 8), ("delivered", 6), ("failed", 89), ("failed", 91),
             ("pending", 400)],
            strict=True,
        ):  # fmt: skip
            self.env.cr.execute(
                """UPDATE bj_api_sync_delivery SET state = %s,
                   create_date = timezone('UTC', now()) - make_interval(days => %s)
                   WHERE id = %s""",
                [state, days, delivery.id],
            )
        self.env["bj.api.sync.delivery"]._gc_deliveries()
        self.assertEqual(
            self._get_deliveries(config), deliveries[1] | deliveries[2] | deliveries[4]
        )


@tagged("post_install", "-at_install")
class TestWhatHappensMeanwhile(OutboundCase):
    """Answers come seconds after the claim: anything may have gone by then, and no
    answer keeps back those of others."""

    def _claim(self, delivery, behaviour):
        """Send a delivery whose answer is still to be settled; return how to do that."""
        self.receiver.clear()
        self.receiver.on("/orders", behaviour)
        outbound = self.env["bj.api.sync.outbound"].sudo()
        (claim,) = self.env["bj.api.sync.delivery"]._take(delivery.ids, [])
        target = outbound._get_target(delivery.config_id)
        request = outbound._prepare_request(claim, target)
        response = transport.send(request)
        settlement = outbound._judge(claim, target, request, response)
        settle = self.env["bj.api.sync.sender"].sudo()._settle
        return lambda: settle([(settlement, response)])

    def test_a_configuration_deleted_while_it_sends_does_no_harm(self):
        for status in (200, 404, 410, 500):
            with self.subTest(status=status):
                config = self._make_config()
                delivery = self._enqueue(config, self._make_partner())
                settle = self._claim(delivery, answer(status))
                config.unlink()
                self.env.flush_all()
                settle()
                self.env.invalidate_all()
                log = self.env["bj.api.log"].search([], limit=1, order="id desc")
                self.assertRecordValues(
                    log, [{"config_id": False, "response_code": status}]
                )

    def test_user_company_and_record_may_go_while_a_delivery_is_on_its_way(self):
        company = self.env["res.company"].create({"name": "Short-lived"})
        user = new_test_user(self.env, "short-lived", groups="base.group_system")
        user.write({"company_ids": [(4, company.id)], "company_id": company.id})
        partner = self._make_partner()
        config = self._make_config(
            company_id=False, response_script="record.write({'comment': 'x'})"
        )
        outbound = self.env["bj.api.sync.outbound"].with_user(user)
        outbound = outbound.with_company(company)
        outbound._trigger(config, partner.with_user(user), "write")
        delivery = self._commit(config)
        self.assertRecordValues(
            delivery, [{"user_id": user.id, "company_id": company.id}]
        )
        settle = self._claim(delivery, answer(200))
        partner.unlink()
        self.env.cr.execute("DELETE FROM res_users WHERE id = %s", [user.id])
        self.env.cr.execute("DELETE FROM res_company WHERE id = %s", [company.id])
        self.env.invalidate_all()
        settle()
        self.env.invalidate_all()
        self.assertEqual(delivery.state, "delivered")
        self.assertEqual(delivery.log_ids.status, "success")

    def test_no_answer_is_too_strange_to_be_settled(self):
        for name, behaviour in {
            "NUL in the body": answer(400, b"no\x00text"),
            "NUL in JSON": answer(400, b'{"why": "a\\u0000b"}'),
            "half a pair in JSON": answer(400, b'{"why": "\\ud800"}'),
            "no text at all": answer(400, bytes(range(256))),
            "NUL in a header": redirect("http://other.example/\x00"),
            "endless location": redirect("http://other.example/" + "x" * 60_000),
        }.items():
            with self.subTest(name), mute_logger("bj.api.sender"):
                config = self._make_config()
                delivery = self._enqueue(config, self._make_partner())
                self.receiver.clear()
                self.receiver.on("/orders", behaviour)
                self._send()
                self.assertIn(delivery.state, ("failed", "pending"))
                self.assertEqual(delivery.attempt_count, 1)
                self.assertFalse(delivery.is_claimed, "its answer is settled")
                self.assertLess(len(delivery.last_error), 1000)
                self.assertEqual(len(delivery.log_ids), 1)

    def test_what_a_script_says_is_kept_whatever_it_is(self):
        for vals in (
            {"request_script": "raise UserError('a\\0b' + chr(55296))"},
            {"response_script": "raise UserError('a\\0b' + chr(55296))"},
        ):
            with self.subTest(vals=vals), mute_logger("bj.api.sender"):
                config = self._make_config(**vals)
                delivery = self._enqueue(config, self._make_partner())
                self._send()
                self.assertEqual(delivery.state, "failed")
                self.assertIn("a\ufffdb", delivery.last_error)

    def test_huge_headers_of_an_answer_are_cut_in_the_log(self):
        headers = {f"X-Fill-{n}": "x" * 60_000 for n in range(20)}
        self.receiver.on("/orders", answer(200, headers=headers))
        delivery = self._enqueue(self._make_config(), self._make_partner())
        self._send()
        self.assertEqual(delivery.state, "delivered")
        self.assertLess(len(delivery.log_ids.response_headers), 70_000)


@tagged("post_install", "-at_install")
class TestEvidence(OutboundCase):
    """Whatever fails says in the log what it was, and where."""

    def test_what_cannot_be_built_has_a_log_row_with_line_and_traceback(self):
        config = self._make_config(
            lines={
                "ref": {"field_path": "ref", "is_record_identifier": True},
                "price": {"value_type": "python_plain", "script": "1 / 0"},
            }
        )
        delivery = self._enqueue(config, self._make_partner())
        log = delivery.log_ids
        self.assertRecordValues(
            log,
            [{"status": "error", "line_id": config.line_ids[1].id, "direction": "out",
              "record_id": delivery.res_id, "error_message": delivery.last_error}],
        )  # fmt: skip
        self.assertIn("ZeroDivisionError", log.traceback)

    def test_a_failing_response_script_leaves_its_traceback(self):
        for is_now in (False, True):
            with self.subTest(is_now=is_now), mute_logger("bj.api.sender"):
                config = self._make_config(response_script="record.nothing")
                partner = self._make_partner()
                if is_now:
                    config._make_outbound_http_request(partner)
                else:
                    self._enqueue(config, partner)
                    self._send()
                log = self._get_deliveries(config).log_ids.filtered("traceback")
                self.assertRecordValues(
                    log, [{"status": "error", "response_code": 200}]
                )
                self.assertIn("AttributeError", log.traceback)

    def test_rebuilding_what_the_domain_leaves_out_now_loses_nothing(self):
        self.receiver.on("/orders", answer(400))
        config = self._make_config(filter_domain="[('ref', '=like', 'C%')]")
        partner = self._make_partner()
        delivery = self._enqueue(config, partner)
        self._send()
        partner.ref = "D1"
        message = delivery.action_rebuild_and_send()["params"]["message"]
        self.assertEqual(delivery.state, "failed")
        self.assertIn("1 were left as they are", message)


@tagged("post_install", "-at_install")
class TestSecretsOfScripts(OutboundCase):
    """Headers that a script has set are sealed like every outbound secret."""

    SCRIPT = "headers['X-Signed'] = 'signed-by-script'"

    def setUp(self):
        super().setUp()
        self.config = self._make_config(request_script=self.SCRIPT)
        self.old, self.new = (Fernet.generate_key().decode() for _key in range(2))
        self._use_keys(self.old)
        self.delivery = self._enqueue(self.config, self._make_partner())

    def _use_keys(self, *keys):
        patcher = patch.dict(tools.config.options, bj_api_sync_key=",".join(keys))
        patcher.start()
        self.addCleanup(patcher.stop)

    def test_without_their_key_nothing_is_sent_or_lost(self):
        self._use_keys(self.new)
        with mute_logger("bj.api.sender"):
            self.assertEqual(self._send(), 0)
        self.assertRecordValues(
            self.delivery,
            [{"state": "pending", "attempt_count": 0, "is_claimed": False}],
        )
        self.assertIn("bj_api_sync_key", self.delivery.last_error)
        self.assertFalse(self.receiver.requests)
        self._use_keys(self.old)
        self._make_due(self.delivery)
        self.assertEqual(self._send(), 1)
        (request,) = self.receiver.requests
        self.assertEqual(request.headers["x-signed"], "signed-by-script")

    def test_they_are_sent_while_keys_are_changed_and_afterwards(self):
        self._use_keys(self.new, self.old)
        self.config.action_rotate_secrets()
        self._use_keys(self.new)
        self.assertEqual(self._send(), 1)
        self.assertEqual(self.delivery.state, "delivered")


@tagged("post_install", "-at_install")
class TestSecretsOfUrls(OutboundCase):
    """What a Parameter, a script or the other side puts into a URL may be a secret."""

    CLEAR = "opensesame-4711"

    def _assert_hidden(self, deliveries):
        self.env.flush_all()
        for table in ("bj_api_sync_delivery", "bj_api_log", "bj_api_sync_param"):
            self.env.cr.execute(f"SELECT t::text FROM {table} t")
            rows = [text for (text,) in self.env.cr.fetchall()]
            self.assertNotIn(self.CLEAR, "".join(rows))
        for url in deliveries.filtered("url").mapped("url"):
            self.assertIn("=***", url)

    def test_it_arrives_and_is_nowhere_to_be_read(self):
        config = self._make_config(
            path="/orders?lang=en",
            param_ids=[(0, 0, {"name": "api_key", "value": self.CLEAR})],
            request_script=f"params['access_token'] = '{self.CLEAR}-2'",
        )
        param = config.param_ids
        self.assertEqual(param.value, MASK)
        self.assertNotIn(
            self.CLEAR, str([*param.read(), *config.copy().param_ids.read()])
        )
        self.assertNotIn(self.CLEAR, str(param.export_data(["value"])["datas"]))
        delivery = self._enqueue(config, self._make_partner())
        self._assert_hidden(delivery)
        self._send()
        sent = config._make_outbound_http_request(self._make_partner(ref="C2"))
        self.assertTrue(sent)
        for request in self.receiver.requests:
            self.assertEqual(
                dict(request.query),
                {
                    "lang": "en",
                    "api_key": self.CLEAR,
                    "access_token": f"{self.CLEAR}-2",
                },
            )
        self.assertEqual(len(self.receiver.requests), 2)
        self._assert_hidden(delivery)
        exported = delivery.export_data(["url", "last_error", "payload"])["datas"]
        self.assertNotIn(self.CLEAR, str(exported))

    def test_what_cannot_be_built_does_not_show_it_either(self):
        config = self._make_config(
            path=f"/orders/{{nothing}}?token={self.CLEAR}",
        )
        delivery = self._enqueue(config, self._make_partner())
        self.assertEqual(delivery.state, "failed")
        self._assert_hidden(delivery)

    def test_pages_are_told_apart_by_it(self):
        items = [{"ref": f"Q{n}", "name": "Q"} for n in range(3)]
        links = [f"/items?page_token={self.CLEAR}-{n}" for n in (1, 2)]
        behaviours = [
            answer(
                200,
                json.dumps([item]).encode(),
                {"Link": f'<{self.receiver.url(links[n])}>; rel="next"'}
                if n < 2
                else {},
            )
            for n, item in enumerate(items)
        ]
        self.receiver.on("/items", *behaviours)
        config = self._make_config("GET", "/items", pagination_style="link")
        config._run_schedule()
        self._commit()
        while self._send():
            pass
        self.assertEqual(
            [request.target for request in self.receiver.requests],
            ["/items", *links],
        )
        deliveries = self._get_deliveries(config)
        self.assertEqual(set(deliveries.mapped("state")), {"delivered"})
        self._assert_hidden(deliveries[1])

    def test_a_run_knows_what_has_changed_in_it(self):
        config = self._make_config(
            lines={"name": "name"},
            param_ids=[(0, 0, {"name": "token", "value": "{id}"})],
        )
        config.filter_domain = "[('ref', '=', 'C1')]"
        self._make_partner()
        for value, count in (("a", 1), ("a", 1), ("b", 2)):
            config.param_ids.value = value
            config._run_schedule()
            self._commit()
            self.assertEqual(len(self._get_deliveries(config)), count)

    def test_it_is_sealed_anew_with_the_others(self):
        old, new = (Fernet.generate_key().decode() for _key in range(2))
        options = tools.config.options
        with patch.dict(options, bj_api_sync_key=old):
            config = self._make_config(
                path=f"/orders?token={self.CLEAR}",
                param_ids=[(0, 0, {"name": "api_key", "value": self.CLEAR})],
            )
            delivery = self._enqueue(config, self._make_partner())
        with patch.dict(options, bj_api_sync_key=f"{new},{old}"):
            config.action_rotate_secrets()
        with patch.dict(options, bj_api_sync_key=new):
            self.assertEqual(self._send(), 1)
            self.assertEqual(config.param_ids._get_value(), self.CLEAR)
        self.assertEqual(delivery.state, "delivered")

    def test_a_parameter_is_sealed_whenever_its_key_says_that_it_is_secret(self):
        vals = {"name": "q", "value": self.CLEAR}
        config = self._make_config(param_ids=[(0, 0, vals)])
        param = config.param_ids
        self.assertEqual(param.value, self.CLEAR)
        param.name = "access_token"
        self.assertEqual(param.value, MASK)
        param.value = MASK
        self.assertEqual(param._get_value(), self.CLEAR)
        param.name = "q"  # never turned back into clear text
        self.assertFalse(param.value)
        param.write({"name": "page_token", "value": "{cursor}"})
        self.assertEqual(param.value, "{cursor}")
        param.value = f"{self.CLEAR}-{{cursor}}"
        self.assertEqual(param.value, MASK)
        self.assertEqual(param._get_value(), f"{self.CLEAR}-{{cursor}}")


@tagged("post_install", "-at_install")
class TestCompany(OutboundCase):
    """A configuration with a Company sends what belongs to it, or to none."""

    def setUp(self):
        super().setUp()
        self.here = self.env.company
        self.there = self.env["res.company"].create({"name": "There"})
        self.env.user.company_ids += self.there
        self.env.ref("base.user_admin").company_ids += self.there  # Run As of a pull
        companies = (self.here, self.there, self.env["res.company"])
        for ref, company in zip(("H", "T", "N"), companies, strict=True):
            self._make_partner(ref=f"bjco-{ref}", company_id=company.id)
        self.partners = self.env["res.partner"].search([("ref", "=like", "bjco-%")])
        self.domain = "[('ref', '=like', 'bjco-%')]"

    def _get_sent(self, config):
        deliveries = self._get_deliveries(config)
        found = sorted(json.loads(delivery.payload)["ref"] for delivery in deliveries)
        return [ref.removeprefix("bjco-") for ref in found]

    def test_each_way_of_sending_keeps_to_it(self):
        for company, expected in (
            (self.there, ["N", "T"]),
            (self.here, ["H", "N"]),
            (self.env["res.company"], ["H", "N", "T"]),
        ):
            for send in (
                lambda config: self._enqueue(config, self.partners),
                lambda config: config._run_schedule(),
                lambda config: config._make_outbound_http_request(self.partners),
            ):
                with self.subTest(company=company.name):
                    config = self._make_config(
                        company_id=company.id, filter_domain=self.domain
                    )
                    send(config)
                    self._commit()
                    self.assertEqual(self._get_sent(config), expected)

    def test_it_is_the_company_that_values_and_domain_are_read_in(self):
        barcode = self.partners[0].with_company(self.there)
        barcode.barcode = "of-there"
        config = self._make_config(
            company_id=self.there.id,
            lines={**LINES, "barcode": "barcode"},
            filter_domain="[('company_id', 'in', [False, company_id])]",
        )
        self.partners.company_id = False
        (delivery,) = self._enqueue(config, self.partners[0])
        self.assertEqual(json.loads(delivery.payload)["barcode"], "of-there")
        self.assertEqual(delivery.company_id, self.there)
        self._send()
        self.assertEqual(delivery.log_ids.company_id, self.there)

    def test_without_one_it_is_the_company_of_whoever_triggers(self):
        # As in a call without a choice of companies, whatever their order.
        self.env.user.company_ids += self.there
        self.there.sequence = -1
        config = self._make_config(company_id=False, filter_domain=self.domain)
        deliveries = self._enqueue(config, self.partners)
        self.assertEqual(deliveries.company_id, self.here)

    def test_what_is_pulled_is_created_in_it(self):
        self.receiver.on("/items", answer(200, b'[{"name": "Pulled", "code": "ZZ"}]'))
        config = self._make_config(
            "GET",
            "/items",
            company_id=self.there.id,
            model_id=self.env.ref("base.model_ir_sequence").id,
            lines={
                "code": {"field_path": "code", "is_record_identifier": True},
                "name": "name",
            },
        )
        config._run_schedule()
        self._commit()
        self._send()
        pulled = self.env["ir.sequence"].search([("code", "=", "ZZ")])
        self.assertEqual(pulled.company_id, self.there)

    def test_a_model_without_companies_is_sent_whole(self):
        config = self._make_config(
            company_id=self.there.id,
            model_id=self.env.ref("base.model_res_country").id,
            lines={"ref": "code"},
        )
        country = self.env.ref("base.be")
        self.assertEqual(len(self._enqueue(config, country)), 1)


@tagged("post_install", "-at_install")
class TestAnswerTriggersNothing(OutboundCase):
    def test_writing_the_answer_does_not_send_the_record_again(self):
        self.receiver.on("/orders", answer(200, b'{"id": "77"}'))
        for is_now in (False, True):
            with self.subTest(is_now=is_now):
                config = self._make_config(
                    response_field_path="function", response_key="id"
                )
                rule = self.env["base.automation"].browse(
                    config.action_create_rule()["res_id"]
                )
                rule.trigger_field_ids = False  # fires for every change
                partner = self._make_partner()
                self._commit()
                if is_now:
                    self._get_deliveries(config).action_cancel()
                    config._make_outbound_http_request(partner)
                else:
                    self._send()
                self._commit()
                self.assertEqual(partner.function, "77")
                count = len(self._get_deliveries(config))
                self.assertEqual(count, 2 if is_now else 1)
                partner.name = "Renamed"
                self._commit()
                self.assertEqual(
                    len(self._get_deliveries(config)), count + 1, "a person's change"
                )
                rule.unlink()
