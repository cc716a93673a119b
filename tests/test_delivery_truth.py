import json
from contextlib import closing
from datetime import datetime, timedelta

from odoo import sql_db
from odoo.exceptions import UserError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .outbound_common import OutboundCase
from .receiver import answer, drop, hang, retry_after


def created(number):
    return answer(201, json.dumps({"id": number}).encode())


@tagged("post_install", "-at_install")
class TestSendAgainOfOldOnes(OutboundCase):
    def _make_overtaken(self, config, partner):
        """Return a failed delivery and the one that has gone out after it."""
        self.receiver.on("/orders", answer(422), answer(200))
        partner.name = "old"
        first = self._enqueue(config, partner)
        self._send()
        partner.name = "new"
        second = self._enqueue(config, partner) - first
        self._send()
        self.assertEqual((first | second).mapped("state"), ["failed", "delivered"])
        return first, second

    def test_one_says_what_has_overtaken_it_and_what_to_press(self):
        partner = self._make_partner()
        first, _second = self._make_overtaken(self._make_config("PUT"), partner)
        with self.assertRaisesRegex(UserError, "Rebuild and Send"):
            first.action_send_again()
        self.assertEqual(first.state, "failed")
        first.action_rebuild_and_send()
        self._commit()
        self._send()
        self.assertEqual([b["name"] for b in self._bodies()], ["old", "new", "new"])

    def test_of_many_those_are_left_and_counted(self):
        config = self._make_config("PUT")
        first, _second = self._make_overtaken(config, self._make_partner())
        self.receiver.clear()
        self.receiver.on("/orders", answer(422), answer(200))
        other = self._enqueue(config, self._make_partner("Bob", "C2")) - first - _second
        self._send()
        action = (first | other).action_send_again()
        message = action["params"]["message"]
        self.assertIn("1 deliveries will be sent again", message)
        self.assertIn("1 were left", message)
        self._send()
        self.assertEqual((first | other).mapped("state"), ["failed", "delivered"])
        self.assertEqual([b["name"] for b in self._bodies()], ["Bob", "Bob"])

    def test_a_newer_one_that_waits_counts_too(self):
        config, partner = self._make_config("PUT"), self._make_partner()
        self.receiver.on("/orders", answer(422))
        first = self._enqueue(config, partner)
        self._send()
        self._enqueue(config, partner)
        with self.assertRaises(UserError):
            first.action_send_again()

    def test_of_several_failed_versions_the_newest_is_sent(self):
        config, partner = self._make_config("PUT"), self._make_partner()
        self.receiver.on("/orders", answer(422), answer(422), answer(422), answer(200))
        for name in ("v1", "v2", "v3"):
            partner.name = name
            deliveries = self._enqueue(config, partner)
            self._send()
        self.assertEqual(set(deliveries.mapped("state")), {"failed"})
        message = deliveries.action_send_again()["params"]["message"]
        self.assertIn("2 were left", message)
        self._send()
        self.assertEqual(deliveries.mapped("state"), ["failed", "failed", "delivered"])
        self.assertEqual(self._bodies()[-1]["name"], "v3")

    def test_a_deletion_that_has_gone_out_is_not_undone(self):
        update = self._make_config("PUT")
        delete = self._make_config("DELETE", "/orders/{ref}")
        partner = self._make_partner()
        self.receiver.on("/orders", answer(422))
        first = self._enqueue(update, partner)
        self._send()
        self._trigger(delete, partner, "unlink")
        partner.unlink()
        self._commit()
        self._send()
        with self.assertRaises(UserError):
            first.action_send_again()

    def test_a_batch_that_a_single_one_has_overtaken_is_left(self):
        config = self._make_config("PUT", is_paginated=True, page_size=5)
        partners = self._make_partner() | self._make_partner(ref="C2")
        self.receiver.on("/orders", answer(422), answer(200))
        first = self._enqueue(config, partners)
        self._send()
        self._enqueue(config, partners[1])
        self._send()
        with self.assertRaises(UserError):
            first.action_send_again()

    def test_what_nothing_newer_has_overtaken_is_sent(self):
        config, other = self._make_config("PUT"), self._make_config("PUT", "/other")
        partner = self._make_partner()
        self.receiver.on("/orders", answer(422), answer(200))
        first = self._enqueue(config, partner)
        self._enqueue(other, partner)
        cancelled = self._enqueue(config, partner) - first
        cancelled.action_cancel()
        self._send()
        self.assertEqual(first.state, "failed")
        first.action_send_again()
        self._send()
        self.assertEqual(first.state, "delivered")


@tagged("post_install", "-at_install")
class TestUnknownFate(OutboundCase):
    def _let_one_be_lost(self, behaviour, method="POST"):
        """Return config, partner and a delivery whose first attempt had no answer."""
        self.receiver.on("/orders", behaviour, answer(200))
        config, partner = (
            self._make_config(method, read_timeout=1),
            self._make_partner(),
        )
        first = self._enqueue(config, partner)
        self._send()
        self.assertEqual(first.state, "pending")
        return config, partner, first

    def test_a_post_that_may_have_arrived_is_finished_before_a_newer_one_goes(self):
        for name, behaviour in [
            ("timeout", hang()),
            ("closed after the request", drop()),
            ("a gateway got no answer", answer(504)),
        ]:
            with self.subTest(name):
                self.receiver.clear()
                config, partner, first = self._let_one_be_lost(behaviour)
                self.assertTrue(first.is_unsure)
                partner.name = "newer"
                second = self._enqueue(config, partner) - first
                self.assertEqual(self._send(), 0, "the newer one waits")
                self._make_due(first)
                self._send()
                self.assertEqual(
                    (first | second).mapped("state"), ["delivered", "delivered"]
                )
                keys = [r.headers["idempotency-key"] for r in self.receiver.requests]
                self.assertEqual(keys, [first.uuid, first.uuid, second.uuid])
                self.assertFalse(first.is_unsure)
                config.unlink()

    def test_one_that_cannot_have_arrived_is_superseded_as_ever(self):
        for name, behaviour, method in [
            ("refused", answer(503), "POST"),
            ("refused update", answer(503), "PUT"),
        ]:
            with self.subTest(name):
                self.receiver.clear()
                config, partner, first = self._let_one_be_lost(behaviour, method)
                second = self._enqueue(config, partner) - first
                self._send()
                self.assertEqual(
                    (first | second).mapped("state"), ["superseded", "delivered"]
                )
                config.unlink()

    def test_an_update_that_broke_off_may_still_be_carried_out_for_a_while(self):
        config, partner, first = self._let_one_be_lost(drop(), "PUT")
        second = self._enqueue(config, partner) - first
        self.assertEqual(self._send(), 0, "it would come before the end of the first")
        self.assertIn("earlier delivery", second.wait_reason)
        self.env.cr.execute(
            "UPDATE bj_api_sync_delivery SET unsure_until = '2020-01-01' WHERE id = %s",
            [first.id],
        )
        self._send()
        self.assertEqual((first | second).mapped("state"), ["superseded", "delivered"])

    def test_it_stays_unknown_when_a_later_attempt_is_refused(self):
        self.receiver.on("/orders", hang(), answer(503), answer(200))
        config, partner = self._make_config(read_timeout=1), self._make_partner()
        first = self._enqueue(config, partner)
        for _attempt in range(2):
            self._make_due(first)
            self._send()
        self.assertEqual(first.last_status_code, 503)
        self._enqueue(config, partner)
        self.assertEqual(self._send(), 0)

    def test_a_lease_that_ran_out_tells_as_little(self):
        config, partner = self._make_config(), self._make_partner()
        first = self._enqueue(config, partner)
        self.env["bj.api.sync.delivery"]._take(first.ids, [])  # and its sender dies
        self._make_due(first)
        second = self._enqueue(config, partner) - first
        self._send()
        self.assertEqual((first | second).mapped("state"), ["delivered", "delivered"])
        keys = [r.headers["idempotency-key"] for r in self.receiver.requests]
        self.assertEqual(keys, [first.uuid, second.uuid])

    def test_it_is_not_built_anew_while_it_may_be_there(self):
        _config, _partner, first = self._let_one_be_lost(hang())
        with self.assertRaisesRegex(UserError, "may have arrived"):
            first.action_rebuild_and_send()
        self.assertEqual(first.state, "pending")

    def test_a_script_that_sends_now_waits_for_its_turn(self):
        config, partner, first = self._let_one_be_lost(hang())
        result = config._make_outbound_http_request(partner)
        self.assertFalse(result)
        self.assertIn("earlier delivery", result["message"])
        self.assertEqual(len(self.receiver.requests), 1)
        later = self.env["bj.api.sync.delivery"].browse(result["delivery_ids"])
        self.assertEqual(later.state, "pending", "the queue sends it later")
        self._make_due(first)
        self._send()
        self.assertEqual(later.state, "delivered")


@tagged("post_install", "-at_install")
class TestArrival(OutboundCase):
    """A POST creates, its answer brings the id, a PUT updates."""

    def setUp(self):
        super().setUp()
        self.receiver.on("/orders", created(7), created(8))
        self.create_config = self._make_config(
            filter_domain="[('barcode', '=', False)]",
            response_field_path="barcode",
            response_key="id",
        )
        lines = {"ext": {"field_path": "barcode", "is_record_identifier": True},
                 "name": "name"}  # fmt: skip
        self.update_config = self._make_config(
            "PUT", "/orders/{ext}", lines, filter_domain="[('barcode', '!=', False)]"
        )

    def _save(self, partner, name):
        partner.name = name
        self._trigger(self.create_config, partner)
        self._trigger(self.update_config, partner)
        self._commit()

    def _seen(self):
        return [(r.method, r.path, r.json()["name"]) for r in self.receiver.requests]

    def test_a_save_before_the_id_is_back_becomes_an_update(self):
        partner = self._make_partner("v1")
        self._save(partner, "v1")
        first = self._get_deliveries(self.create_config)
        # Its request is on its way while the record is saved again.
        self.env["bj.api.sync.delivery"]._take(first.ids, [])
        self._save(partner, "v2")
        self._make_due(first)
        self._send()
        self._send()
        self.assertEqual(
            self._seen(), [("POST", "/orders", "v1"), ("PUT", "/orders/7", "v2")]
        )
        second = self._get_deliveries(self.create_config) - first
        self.assertEqual(second.state, "superseded")
        self.assertIn("Filter Domain", second.last_error)
        self.assertIn(self.update_config.name, second.last_error)
        self.assertEqual(partner.barcode, "7")

    def test_an_update_that_says_what_was_sent_already_is_left_out(self):
        partner = self._make_partner("v1")
        self._save(partner, "v1")
        first = self._get_deliveries(self.create_config)
        self.env["bj.api.sync.delivery"]._take(first.ids, [])
        self._save(partner, "v2")
        self._make_due(first)
        self._send()
        partner.name = "v3"
        self._trigger(self.update_config, partner)
        self._commit()
        self._send()
        self._send()
        names = [name for method, _path, name in self._seen() if method == "PUT"]
        self.assertEqual(names[-1], "v3")
        self.assertEqual(len(names), len(set(names)))

    def test_a_record_without_the_value_is_created_as_ever(self):
        partners = self._make_partner("a") | self._make_partner("b", "C2")
        for partner in partners:
            self._save(partner, partner.name)
        self._send()
        self.assertEqual(len(self._seen()), 2)
        self.assertEqual(sorted(partners.mapped("barcode")), ["7", "8"])

    def test_a_domain_that_does_not_ask_for_the_value_leaves_nothing_out(self):
        self.create_config.filter_domain = "[('name', '!=', 'x')]"
        partner = self._make_partner("v1")
        self._save(partner, "v1")
        self._send()
        self.create_config.filter_domain = "[('name', '!=', 'v2')]"
        self._trigger(self.create_config, partner)
        self._commit()
        partner.name = "v2"
        self._send()
        posts = [seen for seen in self._seen() if seen[0] == "POST"]
        self.assertEqual(len(posts), 2, "it was inside when it was triggered")

    def test_a_rule_that_does_not_watch_the_value_is_told_of_it(self):
        self.update_config.action_create_rule()
        rule = self.update_config.server_action_ids.base_automation_id
        rule.trigger_field_ids = self.env.ref("base.field_res_partner__name")
        partner = self._make_partner("v1")
        self._commit()
        self._trigger(self.create_config, partner)
        self._commit()
        partner.name = "v2"  # the rule fires, and the Filter Domain leaves it out
        self._commit()
        self._send()
        self._send()
        self.assertEqual(
            self._seen(), [("POST", "/orders", "v1"), ("PUT", "/orders/7", "v2")]
        )

    def test_the_answer_of_a_script_counts_as_well(self):
        self.create_config.write(
            {
                "response_field_path": False,
                "response_key": False,
                "response_script": "record.write({'barcode': response.json()['id']})",
            }
        )
        partner = self._make_partner("v1")
        self._save(partner, "v1")
        first = self._get_deliveries(self.create_config)
        self.env["bj.api.sync.delivery"]._take(first.ids, [])
        self._save(partner, "v2")
        self._make_due(first)
        self._send()
        self._send()
        self.assertEqual(
            self._seen(), [("POST", "/orders", "v1"), ("PUT", "/orders/7", "v2")]
        )

    def test_the_others_of_a_batch_are_created(self):
        self.create_config.write({"is_paginated": True, "page_size": 5})
        self.receiver.clear()
        self.receiver.on("/orders", answer(200, b'[{"id": 5}]'),
                         answer(200, b'[{"id": 6}]'))  # fmt: skip
        known, new = self._make_partner("a"), self._make_partner("b", "C2")
        first = self._enqueue(self.create_config, known)
        self.env["bj.api.sync.delivery"]._take(first.ids, [])
        self._enqueue(self.create_config, known | new)
        self._make_due(first)
        self._send()
        self._send()
        self.assertEqual(known.barcode, "5")
        self.assertEqual(new.barcode, "6")
        posts = [r.json() for r in self.receiver.requests if r.method == "POST"]
        self.assertEqual([[b["name"] for b in body] for body in posts], [["a"], ["b"]])


@tagged("post_install", "-at_install")
class TestHeldRecords(OutboundCase):
    """Another transaction holds what an answer is to be written to."""

    def setUp(self):
        super().setUp()
        self.partner = self.env.ref("base.main_partner")  # committed: others see it
        self.receiver.on("/orders", created(7))
        self.config = self._make_config(
            response_field_path="barcode", response_key="id"
        )

    def _hold(self):
        cr = self.enterContext(closing(sql_db.db_connect(self.env.cr.dbname).cursor()))
        cr.execute(
            "SELECT FROM res_partner WHERE id = %s FOR UPDATE", [self.partner.id]
        )
        return cr

    def test_the_answer_is_kept_and_used_once_the_record_is_free(self):
        other = self._make_config(path="/other")
        delivery = self._enqueue(self.config, self.partner)
        follower = self._enqueue(other, self._make_partner(ref="C2"))
        holder = self._hold()
        begun = datetime.utcnow()
        self._send()
        self.assertLess(datetime.utcnow() - begun, timedelta(seconds=9))
        self.assertEqual(follower.state, "delivered", "others go on")
        self.assertEqual(delivery.state, "pending")
        self.assertIn("another transaction", delivery.last_error)
        self.assertEqual(delivery.attempt_count, 1)
        holder.rollback()
        self._make_due(delivery)
        self._send()
        self.assertRecordValues(
            delivery, [{"state": "delivered", "attempt_count": 1, "last_error": False}]
        )
        self.assertEqual(self.partner.barcode, "7")
        self.assertEqual(len(self.receiver.requests), 2, "it was not sent again")
        self.assertEqual(len(delivery.log_ids), 1)

    def test_a_kept_answer_is_sealed_and_nothing_passes_it(self):
        delivery = self._enqueue(self.config, self.partner)
        holder = self._hold()
        self._send()
        self.env.cr.execute(
            "SELECT answer FROM bj_api_sync_delivery WHERE id = %s", [delivery.id]
        )
        (kept,) = self.env.cr.fetchone()
        self.assertNotIn("201", kept)
        newer = self._enqueue(self.config, self.partner) - delivery
        self._send()
        self.assertEqual(newer.state, "pending")
        delivery.action_cancel()
        self.assertEqual(delivery.state, "pending", "it is there, so it is let be")
        self.config.action_pause()
        holder.rollback()
        self._make_due(delivery)
        self._send()
        self.assertEqual(delivery.state, "delivered", "though it is paused")

    def test_a_script_that_writes_elsewhere_is_tried_later_too(self):
        self.config.write(
            {
                "response_field_path": False,
                "response_key": False,
                "response_script": "env.ref('base.main_partner').write({'barcode': 'S'})",
            }
        )
        delivery = self._enqueue(self.config, self._make_partner())
        holder = self._hold()
        with mute_logger("odoo.sql_db"):
            self._send()
        self.assertEqual(delivery.state, "pending")
        holder.rollback()
        self._make_due(delivery)
        self._send()
        self.assertEqual(delivery.state, "delivered")
        self.assertEqual(self.partner.barcode, "S")


@tagged("post_install", "-at_install")
class TestLimits(OutboundCase):
    def _get_wait(self, delivery, begun):
        return (delivery.next_attempt_date - begun).total_seconds()

    def test_a_wish_to_wait_is_kept_to_the_second_and_uses_up_no_attempt(self):
        in_30 = int(datetime.now().timestamp()) + 30
        for name, behaviour, seconds in [
            ("decimals", retry_after("2.0"), 2),
            ("below a second", retry_after("0.5"), 1),
            ("moment", retry_after(in_30), 30),
            ("reset", answer(429, headers={"X-RateLimit-Reset": str(in_30)}), 30),
            ("body", answer(429, b'{"parameters": {"retry_after": 30}}'), 30),
            ("403", retry_after("45", status=403), 45),
            ("nobody says", answer(429), 60),
        ]:
            with self.subTest(name):
                self.receiver.clear()
                self.receiver.on("/orders", behaviour)
                config = self._make_config(max_attempts=1)
                delivery = self._enqueue(config, self._make_partner())
                begun = datetime.utcnow()
                self._send()
                self.assertEqual(delivery.state, "pending")
                self.assertEqual(delivery.attempts_before, 1)
                wait = self._get_wait(delivery, begun)
                # From the answer on, which came somewhat later.
                self.assertGreaterEqual(wait, seconds - (6 if seconds > 6 else 1.1))
                self.assertLess(wait, seconds + 5)
                config.unlink()
                self.env["bj.api.sync.destination"].search([]).unlink()

    def test_after_a_day_of_it_attempts_count_again(self):
        self.receiver.on("/orders", retry_after("1"))
        delivery = self._enqueue(
            self._make_config(max_attempts=1), self._make_partner()
        )
        self._send()
        self.assertEqual(delivery.state, "pending")
        self.env.cr.execute(
            """UPDATE bj_api_sync_delivery
               SET throttled_date = throttled_date - interval '25 hours' WHERE id = %s""",
            [delivery.id],
        )
        self.env["bj.api.sync.destination"].search([]).unlink()
        self._make_due(delivery)
        self._send()
        self.assertEqual(delivery.state, "failed")

    def test_limits_do_not_open_the_breaker(self):
        self.receiver.on("/orders", retry_after("1"))
        partners = self.env["res.partner"].create(
            [{"name": f"P{n}", "ref": f"C{n}"} for n in range(15)]
        )
        self._enqueue(self._make_config(), partners)
        self._send()
        host = self.env["bj.api.sync.destination"].search([])
        self.assertEqual(host.failures, 0)
        self.assertFalse(host.opened_until)

    def test_one_limit_holds_its_own_credential_alone(self):
        def make(path, token, **vals):
            return self._make_config(
                path=path, auth_type="bearer", bearer_token=token, **vals
            )

        self.receiver.on("/a", retry_after("3600"))
        held, other = make("/a", "token-of-one-1234"), make("/b", "token-of-two-1234")
        same = make("/c", "token-of-one-1234")
        first = self._enqueue(held, self._make_partner())
        self._send()
        following = self._enqueue(other, self._make_partner(ref="C2"))
        waiting = self._enqueue(same, self._make_partner(ref="C3"))
        self._send()
        self.assertEqual(following.state, "delivered")
        self.assertEqual((first | waiting).mapped("state"), ["pending", "pending"])
        destination = self.env["bj.api.sync.destination"].search([])
        self.assertEqual(len(destination), 1)
        self.assertTrue(destination.credential)
        self.assertNotIn("token", destination.credential)
        result = same._make_outbound_http_request(self._make_partner(ref="C4"))
        self.assertIn("asked to wait", result["message"])
        self.assertTrue(other._make_outbound_http_request(self._make_partner(ref="C5")))
        destination.action_resume()
        self._make_due(first)
        self._send()
        self.assertEqual(waiting.state, "delivered")

    def test_one_breaker_opens_for_its_own_credential_alone(self):
        self.receiver.on("/a", answer(500))
        bad = self._make_config(path="/a", auth_type="basic", auth_login="x",
                                auth_password="y-password")  # fmt: skip
        good = self._make_config(path="/b")
        partners = self.env["res.partner"].create(
            [{"name": f"P{n}", "ref": f"C{n}"} for n in range(10)]
        )
        failing = self._enqueue(bad, partners)
        self._send()
        delivery = self._enqueue(good, self._make_partner(ref="G"))
        self._send()
        self.assertEqual(delivery.state, "delivered")
        self.env.cr.execute(
            "UPDATE bj_api_sync_destination SET opened_until = '2020-01-01'"
        )
        self._make_due(failing)
        self.receiver.on("/a", answer(200))
        self.assertEqual(self._send(), 10, "a probe, then all others")

    def test_nothing_left_of_a_limit_holds_though_it_was_delivered(self):
        headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "300"}
        self.receiver.on("/orders", answer(200, headers=headers))
        config = self._make_config()
        delivery = self._enqueue(config, self._make_partner())
        self._send()
        self.assertEqual(delivery.state, "delivered")
        later = self._enqueue(config, self._make_partner(ref="C2")) - delivery
        self.assertEqual(self._send(), 0)
        self.assertEqual(later.state, "pending")


@tagged("post_install", "-at_install")
class TestDeletions(OutboundCase):
    def test_what_is_gone_already_is_deleted_and_pauses_nothing(self):
        for status in (404, 410):
            with self.subTest(status=status):
                self.receiver.on("/orders/C1", answer(status))
                config = self._make_config(
                    "DELETE",
                    "/orders/{ref}",
                    response_field_path="barcode",
                    response_key="id",
                )
                delivery = self._enqueue(config, self._make_partner())
                self._send()
                self.assertRecordValues(
                    delivery, [{"state": "delivered", "last_status_code": status}]
                )
                self.assertFalse(config.is_paused)
                self.assertFalse(config.activity_ids)
                config.unlink()


@tagged("post_install", "-at_install")
class TestBrokenDomain(OutboundCase):
    """A Filter Domain that cannot be used any more stops nobody else."""

    def test_what_cannot_be_judged_is_sent_and_others_as_well(self):
        config = self._make_config(
            filter_domain="[('barcode', '=', False)]",
            response_field_path="barcode",
            response_key="id",
        )
        first = self._enqueue(config, self._make_partner())
        other = self._enqueue(self._make_config(path="/b"), self._make_partner())
        self.receiver.on("/orders", created(7))
        self.env.cr.execute(
            """UPDATE bj_api_sync_config
               SET filter_domain = '["|", ("barcode", "=", False), ("x_gone", "=", 1)]'
               WHERE id = %s""",
            [config.id],
        )
        first_partner = self.env["res.partner"].browse(first.res_id)
        first_partner.barcode = "known"
        self.env.invalidate_all()
        with mute_logger("bj.api.sender"):
            self._send()
        self.assertEqual((first | other).mapped("state"), ["delivered", "delivered"])
